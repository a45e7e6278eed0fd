#include "model/network/network.h"

#include <unistd.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/network/layers.h"
#include "model/network/parameter_reader.h"
#include "model/network/safetensors.h"
#include "tests/model/network/editable_model.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

absl::StatusOr<std::unique_ptr<Network>> LoadContents(const std::string& contents) {
  const std::string path = WriteTemporaryFile(contents);
  auto network = Network::Load(path);
  unlink(path.c_str());
  if (!network.ok()) {
    EXPECT_THAT(std::string(network.status().message()), StartsWith(path));
  }
  return network;
}

std::unique_ptr<Network> LoadSmall(const std::string& fixture) {
  auto network = LoadContents(EditableModel::Small(fixture).Serialize());
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

void ExpectRefused(const EditableModel& model, const std::string& message) {
  const absl::Status status = LoadContents(model.Serialize()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

// One picture per row, a function of the row's seed.
at::Tensor Pictures(const NetworkInfo& info, const std::vector<int>& seeds) {
  at::Tensor x = at::empty(
      {static_cast<int64_t>(seeds.size()), info.channels, info.height, info.width}, at::kFloat);
  const int64_t elements = x.numel() / x.size(0);
  for (size_t b = 0; b < seeds.size(); ++b) {
    for (int64_t i = 0; i < elements; ++i) {
      x.mutable_data_ptr<float>()[static_cast<int64_t>(b) * elements + i] =
          static_cast<float>(std::sin(0.37 * static_cast<double>(i) + seeds[b]));
    }
  }
  return x;
}

std::vector<float> Denoised(const Network& network, const std::vector<int>& seeds,
                            const std::vector<DenoiserRow>& rows) {
  const at::Tensor d = network.Denoise(Pictures(network.info(), seeds), rows);
  return std::vector<float>(d.const_data_ptr<float>(), d.const_data_ptr<float>() + d.numel());
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  return largest;
}

TEST(NetworkTest, LoadsTheDefaultModel) {
  const auto network = Network::Load("model/zoo/nouns32.safetensors");
  ASSERT_TRUE(network.ok()) << network.status();
  const NetworkInfo& info = (*network)->info();
  EXPECT_EQ(info.num_skips, 9);
  EXPECT_EQ(info.num_classes, 64);
  EXPECT_EQ(info.class_names[1], "ape");
  EXPECT_EQ(info.parameter_count, 3956291);
  EXPECT_EQ(info.sha256, "ba8dc2fc2c13cd8ab8a529b8e8d9c038d2cb93049358821f54c76f6087ae3ec5");
}

TEST(NetworkTest, ResampleFiltersMayBeStoredOrNot) {
  EditableModel model = EditableModel::Small(kDdpmppVpFixture);
  ASSERT_TRUE(LoadContents(model.Serialize()).ok());
  std::erase_if(model.tensors, [](const auto& item) {
    return item.first.find("resample_filter") != std::string::npos;
  });
  ASSERT_TRUE(LoadContents(model.Serialize()).ok());
}

TEST(NetworkTest, AStoredFilterThatIsNotTheBoxIsRefused) {
  EditableModel model = EditableModel::Small(kDdpmppVpFixture);
  model.SetElement("model.enc.8x8_down.conv0.resample_filter", 1, 0.125f);
  ExpectRefused(model, "'model.enc.8x8_down.conv0.resample_filter' disagrees with the config");
}

TEST(NetworkTest, EveryMissingTensorIsNamed) {
  const EditableModel whole = EditableModel::Small(kDdpmppEdmFixture);
  for (const auto& [name, tensor] : whole.tensors) {
    if (name.find("resample_filter") != std::string::npos) continue;
    EditableModel model = whole;
    model.tensors.erase(name);
    ExpectRefused(model, "tensor '" + name + "' is missing");
  }
}

TEST(NetworkTest, ATensorTheNetworkDoesNotUseIsNamed) {
  EditableModel model = EditableModel::Small(kDdpmppVpFixture);
  model.tensors["model.enc.16x16_block9.conv0.weight"] = model.tensors.begin()->second;
  ExpectRefused(model, "tensor 'model.enc.16x16_block9.conv0.weight' is not used");
}

TEST(NetworkTest, ATensorOfAnotherShapeIsNamed) {
  EditableModel model = EditableModel::Small(kDdpmppVpFixture);
  model.tensors["model.map_layer0.weight"].shape = {4, 16};
  ExpectRefused(model, "'model.map_layer0.weight' has shape [4, 16], must be [16, 4]");
}

TEST(NetworkTest, ATensorOfAnotherTypeIsNamed) {
  EditableModel model = EditableModel::Small(kDdpmppVpFixture);
  model.tensors["model.map_layer0.bias"].dtype = "I32";
  ExpectRefused(model, "'model.map_layer0.bias' has dtype I32, must be F32");
}

TEST(NetworkTest, ParametersThatAreNotFiniteAreNamed) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    EditableModel model = EditableModel::Small(kDdpmppVpFixture);
    model.SetElement("model.enc.16x16_conv.weight", 7, value);
    ExpectRefused(model, "'model.enc.16x16_conv.weight' holds a value that is not finite");
  }
}

TEST(NetworkTest, AConfigThatAsksForAnotherNetworkIsRefused) {
  const auto with = [](const std::string& key, const nlohmann::json& value) {
    EditableModel model = EditableModel::Small(kDdpmppVpFixture);
    model.SetConfig(key, value);
    return model;
  };
  ExpectRefused(with("num_blocks", 2), "block1");
  ExpectRefused(with("attn_resolutions", nlohmann::json::array()), "is not used");
  ExpectRefused(with("augment_dim", 9), "'model.map_augment.weight' is missing");
  ExpectRefused(with("label_dim", 0), "'model.map_label");
  ExpectRefused(with("model_channels", 8192), "has shape");
  ExpectRefused(with("img_resolution", 32), "is missing");
}

TEST(NetworkTest, ChannelsThatDoNotFormEvenGroupsAreRefused) {
  const std::string path = WriteTemporaryFile(EditableModel::Assemble("{}", ""));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ParameterReader reader(*file, "");
  const GroupNorm norm(reader, "norm", 132);
  EXPECT_THAT(std::string(reader.Finish().message()),
              HasSubstr("norm would split 132 channels into 32 groups"));
  unlink(path.c_str());
}

TEST(NetworkTest, ARowDoesNotDependOnItsNeighbours) {
  const auto network = LoadSmall(kDdpmppEdmFixture);
  const std::vector<float> ones(9, 1.0f);
  const std::vector<float> tuned = {0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 1.0f, 1.1f, 1.2f, 1.3f};
  const std::vector<DenoiserRow> rows = {
      {80.0, 80.0, 3, ones}, {0.002, 0.002, -1, tuned}, {1.0, 1.0, 9, tuned}};
  const std::vector<float> together = Denoised(*network, {1, 2, 3}, rows);
  const size_t elements = together.size() / 3;
  for (size_t b = 0; b < 3; ++b) {
    const std::vector<float> alone = Denoised(*network, {static_cast<int>(b) + 1}, {rows[b]});
    const auto first = together.begin() + static_cast<int64_t>(b * elements);
    // EDM bounds c_skip x + c_out F by a few units here.
    EXPECT_LT(LargestDifference(alone, {first, first + static_cast<int64_t>(elements)}), 1e-5);
  }
}

TEST(NetworkTest, EverySkipCoefficientAndTheClassHaveAnEffect) {
  const auto network = LoadSmall(kDdpmppEdmFixture);
  const std::vector<float> ones(9, 1.0f);
  const std::vector<float> plain = Denoised(*network, {1}, {{1.0, 1.0, 3, ones}});
  for (size_t i = 0; i < ones.size(); ++i) {
    std::vector<float> rho = ones;
    rho[i] = 0.5f;
    EXPECT_GT(LargestDifference(plain, Denoised(*network, {1}, {{1.0, 1.0, 3, rho}})), 1e-4) << i;
  }
  EXPECT_GT(LargestDifference(plain, Denoised(*network, {1}, {{1.0, 1.0, 4, ones}})), 1e-4);
  EXPECT_GT(LargestDifference(plain, Denoised(*network, {1}, {{1.0, 1.0, -1, ones}})), 1e-4);
}

}  // namespace
}  // namespace skipstream
