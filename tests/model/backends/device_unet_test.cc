// The network of DeviceUNet, with the host for a device, against the reference one.
#include "model/backends/device_unet.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "ATen/core/Tensor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/execution/network.h"
#include "tests/model/backends/host_backend.h"
#include "tests/model/families/edm_unet/random_model.h"
#include "tests/model/families/edm_unet/shape_recorder.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

HostBackend& Host() {
  static HostBackend host;
  return host;
}

std::unique_ptr<DeviceUNet> Make(const ModelDescription& model, Precision precision,
                                 ParameterSource& source) {
  return std::visit(
      [&](const auto& family) {
        return std::make_unique<DeviceUNet>(family, model.out_channels(), precision, source, Host(),
                                            Host());
      },
      model.config);
}

std::unique_ptr<Network> LoadOnDevice(const std::string& path, Precision precision) {
  auto network = Network::Load(path, "",
                               [&](const ModelDescription& model, ParameterSource& source,
                                   NetworkForm& form) -> absl::StatusOr<std::unique_ptr<UNet>> {
                                 form = {Kernels::kFused, precision};
                                 return Make(model, precision, source);
                               });
  EXPECT_TRUE(network.ok()) << network.status();
  (*network)->unet().MoveToDevice();
  return *std::move(network);
}

std::unique_ptr<Network> LoadReference(const std::string& path) {
  auto network = Network::Load(path, "", {Kernels::kReference, Precision::kFloat32});
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

TEST(DeviceUNetTest, AsksForTheSameParameters) {
  for (const char* config : kConfigs) {
    const ModelDescription model = Describe(config);
    ShapeRecorder recorder;
    Make(model, Precision::kBFloat16, recorder);
    EXPECT_TRUE(recorder.status().ok()) << recorder.status();
    EXPECT_EQ(recorder.shapes(), ShapeRecorder::Of(model).shapes()) << config;
  }
}

TEST(DeviceUNetTest, ComputesWhatTheReferenceDoes) {
  for (const char* config : kConfigs) {
    const std::string path = WriteTemporaryFile(RandomModel(config).Serialize());
    const std::unique_ptr<Network> reference = LoadReference(path);
    const Rows rows(reference->info(), 5);
    const std::vector<float> expected = rows.Denoised(*reference);
    const double size = RootMeanSquare(expected, std::vector<float>(expected.size(), 0.0f));
    const auto error = [&](Precision precision) {
      return RootMeanSquare(rows.Denoised(*LoadOnDevice(path, precision)), expected) / size;
    };
    EXPECT_LT(error(Precision::kFloat32), 4e-6) << config;
    const double rounded = error(Precision::kBFloat16);
    EXPECT_LT(rounded, 5e-2) << config;
    EXPECT_GT(rounded, 1e-5) << "that was not bfloat16: " << config;
    unlink(path.c_str());
  }
}

TEST(DeviceUNetTest, TheDefaultModelInBFloat16IsWithinTheDocumentedBound) {
  const std::string path = "model/zoo/nouns32.safetensors";
  const std::unique_ptr<Network> reference = LoadReference(path);
  const Rows rows(reference->info(), 12);
  const double error = RootMeanSquare(rows.Denoised(*LoadOnDevice(path, Precision::kBFloat16)),
                                      rows.Denoised(*reference));
  RecordProperty("rms_error", std::to_string(error));
  EXPECT_LT(error, 4e-3) << error;
}

}  // namespace
}  // namespace skipstream
