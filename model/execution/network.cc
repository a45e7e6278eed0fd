#include "model/execution/network.h"

#include <algorithm>
#include <future>
#include <stop_token>
#include <thread>
#include <utility>

#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "c10/core/InferenceMode.h"
#include "model/backends/cpu/cpu_backend.h"
#include "model/families/edm_unet/model_file.h"
#include "model/families/edm_unet/unet.h"
#include "model/files/presets.h"
#include "model/files/safetensors.h"
#include "model/nn/parameter_reader.h"

namespace skipstream {
namespace {

// The smallest of the stored levels have lost digits, other ones where another library made them.
constexpr double kStoredLevelTolerance = 5e-3;

}  // namespace

Network::Network(NetworkInfo info, std::unique_ptr<UNet> unet)
    : info_(std::move(info)), unet_(std::move(unet)) {}

Network::~Network() = default;

absl::StatusOr<std::unique_ptr<Network>> Network::Load(const std::string& path,
                                                       const std::string& prefix,
                                                       NetworkForm form) {
  return Load(
      path, prefix,
      [asked = form](const ModelDescription& model, ParameterSource& source, NetworkForm& made) {
        made = asked;
        return MakeCpuUNet(model, source, made);
      });
}

absl::StatusOr<std::unique_ptr<Network>> Network::Load(const std::string& path,
                                                       const std::string& prefix,
                                                       const Builder& build) {
  const c10::InferenceMode inference;
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  const auto with_path = [&](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  };
  absl::StatusOr<ModelDescription> model = ParseModelMetadata(file->metadata());
  if (!model.ok()) return with_path(model.status());
  NetworkInfo& info = model->info;
  if (absl::Status status = AddPresetsBeside(path, info.num_skips, info.presets); !status.ok()) {
    return status;
  }
  // Hashing a large file takes about as long as reading it.
  std::packaged_task<absl::StatusOr<std::string>(std::stop_token)> hash(
      [&file](const std::stop_token& stop) { return file->Sha256(stop); });
  std::future<absl::StatusOr<std::string>> sha256 = hash.get_future();
  const std::jthread hasher(std::move(hash));  // stops it if anything below fails
  ParameterReader reader(*file, prefix);
  if (const std::vector<double>& levels = model->info.parametrization.stored_levels();
      !levels.empty()) {
    reader.CheckBuffer("u", {static_cast<int64_t>(levels.size())}, levels, kStoredLevelTolerance);
  }
  NetworkForm form;
  absl::StatusOr<std::unique_ptr<UNet>> unet = build(*model, reader, form);
  if (!unet.ok()) return with_path(unet.status());
  if (absl::Status status = reader.Finish(); !status.ok()) return with_path(status);
  absl::StatusOr<std::string> digest = sha256.get();
  if (!digest.ok()) return digest.status();
  // The digest is that of the bytes that were read above.
  if (absl::Status status = file->CheckUnchanged(); !status.ok()) return status;
  info.parameter_count = reader.parameter_count();
  info.sha256 = *std::move(digest);
  info.form = form;
  return std::unique_ptr<Network>(new Network(std::move(model->info), *std::move(unet)));
}

at::Tensor Network::Denoise(const at::Tensor& x, absl::Span<const DenoiserRow> rows) const {
  const c10::InferenceMode inference;
  const int64_t batch = x.size(0);
  at::Tensor scalings = at::empty({4, batch, 1, 1, 1}, at::kFloat);  // c_skip, c_out, c_in, c_noise
  at::Tensor rho = at::empty({batch, info_.num_skips}, at::kFloat);
  at::Tensor labels;
  if (info_.num_classes > 0) labels = at::zeros({batch, info_.num_classes}, at::kFloat);
  for (int64_t b = 0; b < batch; ++b) {
    const DenoiserRow& row = rows[b];
    const DenoiserCoefficients c = info_.parametrization.At(row.sigma, row.conditioning_sigma);
    float* scaling = scalings.mutable_data_ptr<float>() + b;
    scaling[0] = c.c_skip;
    scaling[batch] = c.c_out;
    scaling[2 * batch] = c.c_in;
    scaling[3 * batch] = c.c_noise;
    std::copy(row.rho.begin(), row.rho.end(), rho.mutable_data_ptr<float>() + b * info_.num_skips);
    if (row.class_index >= 0) {
      labels.mutable_data_ptr<float>()[b * info_.num_classes + row.class_index] = 1.0f;
    }
  }
  const at::Tensor scaled = x.mul(scalings[2]).contiguous(at::MemoryFormat::ChannelsLast);
  // [B, C or more, H, W]: the first C are the image.
  const at::Tensor f =
      unet_->Forward(scaled, scalings[3].flatten(), labels, rho).narrow(1, 0, info_.channels);
  return x.mul(scalings[0]).add_(f.mul(scalings[1])).contiguous();
}

}  // namespace skipstream
