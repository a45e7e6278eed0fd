// The fused kernels against the reference ones.
#include "model/network/fused_unet.h"

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/network/model_file.h"
#include "model/network/network.h"
#include "tests/model/network/editable_model.h"
#include "tests/model/network/shape_recorder.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

constexpr NetworkForm kReference = {Kernels::kReference, Precision::kFloat32};
constexpr NetworkForm kFloat32 = {Kernels::kFused, Precision::kFloat32};
constexpr NetworkForm kBFloat16 = {Kernels::kFused, Precision::kBFloat16};

// Configurations whose sizes fill no vector, no tile and no pair evenly, and those that do.
constexpr const char* kConfigs[] = {
    R"({"model_type": "SongUNet", "img_resolution": 16, "img_channels": 3, "label_dim": 5,
        "model_channels": 32, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8]})",
    R"({"model_type": "SongUNet", "img_resolution": 12, "img_channels": 1, "label_dim": 0,
        "model_channels": 12, "channel_mult": [1, 3, 2], "num_blocks": 2, "attn_resolutions": [6]})",
    R"({"model_type": "SongUNet", "img_resolution": 10, "img_channels": 3, "label_dim": 3,
        "model_channels": 20, "channel_mult": [2, 1], "num_blocks": 1, "attn_resolutions": [5],
        "embedding_type": "fourier", "channel_mult_noise": 2, "augment_dim": 9})",
    // Down to a single pixel, which attends to itself.
    R"({"model_type": "SongUNet", "img_resolution": 4, "img_channels": 3, "label_dim": 0,
        "model_channels": 16, "channel_mult": [1, 1, 2], "num_blocks": 1,
        "attn_resolutions": [2, 1]})",
    R"({"model_type": "DhariwalUNet", "img_resolution": 8, "img_channels": 3, "label_dim": 4,
        "model_channels": 32, "channel_mult": [1, 4], "num_blocks": 1, "attn_resolutions": [4]})",
    R"({"model_type": "DhariwalUNet", "img_resolution": 12, "img_channels": 3, "label_dim": 0,
        "model_channels": 24, "channel_mult": [1, 4, 8], "num_blocks": 2,
        "attn_resolutions": [6, 3]})",
};

ModelDescription Describe(const std::string& config) {
  const auto model = ParseModelMetadata({{"preconditioning", "EDMPrecond"}, {"config", config}});
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

// A model file of that configuration, of random values that keep the features' size.
EditableModel RandomModel(const std::string& config) {
  EditableModel model;
  model.metadata = {{"preconditioning", "EDMPrecond"}, {"config", config}};
  std::mt19937 generator(7);
  const ShapeRecorder recorder = ShapeRecorder::Of(Describe(config));
  for (const auto& [name, shape] : recorder.shapes()) {
    const int64_t elements = ShapeRecorder::Elements(shape);
    const double fan_in =
        shape.size() > 1 ? static_cast<double>(elements) / static_cast<double>(shape[0]) : 4.0;
    std::normal_distribution<float> normal(0.0f, static_cast<float>(1.0 / std::sqrt(fan_in)));
    EditableModel::Tensor& tensor = model.tensors[name];
    tensor.dtype = "F32";
    tensor.shape = shape;
    std::vector<float> values(elements);
    for (float& value : values) value = normal(generator);
    tensor.bytes.assign(reinterpret_cast<const char*>(values.data()),
                        values.size() * sizeof(float));
  }
  return model;
}

std::unique_ptr<Network> Load(const EditableModel& model, NetworkForm form) {
  const std::string path = WriteTemporaryFile(model.Serialize());
  auto network = Network::Load(path, "", form);
  unlink(path.c_str());
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

// Rows that differ in everything.
struct Rows {
  explicit Rows(const NetworkInfo& info, int count)
      : x(at::empty({count, info.channels, info.height, info.width}, at::kFloat)) {
    std::mt19937 generator(11);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<float>()[i] = normal(generator);
    for (int b = 0; b < count; ++b) {
      auto& own = rho.emplace_back(info.num_skips);
      for (int k = 0; k < info.num_skips; ++k) {
        own[k] = 0.5f + 0.1f * static_cast<float>((b + k) % 9);
      }
    }
    for (int b = 0; b < count; ++b) {
      const double sigma = 0.05 * std::pow(3.0, b % 6);
      rows.push_back(
          {sigma, sigma, info.num_classes > 0 ? b % (info.num_classes + 1) - 1 : -1, rho[b]});
    }
  }

  std::vector<float> Denoised(const Network& network) const {
    const at::Tensor d = network.Denoise(x, rows);
    return {d.const_data_ptr<float>(), d.const_data_ptr<float>() + d.numel()};
  }
  std::vector<float> DenoisedAlone(const Network& network, int row) const {
    const at::Tensor d = network.Denoise(x.narrow(0, row, 1).contiguous(), {&rows[row], 1});
    return {d.const_data_ptr<float>(), d.const_data_ptr<float>() + d.numel()};
  }

  at::Tensor x;
  std::vector<std::vector<float>> rho;
  std::vector<DenoiserRow> rows;
};

double RootMeanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

class FusedUNetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const ModelDescription model = Describe(kConfigs[0]);
    if (!CheckFused(model.config, Precision::kFloat32).ok()) {
      GTEST_SKIP() << CheckFused(model.config, Precision::kFloat32);
    }
    has_bfloat16_ = CheckFused(model.config, Precision::kBFloat16).ok();
    at::set_num_threads(2);
  }
  std::vector<NetworkForm> Forms() const {
    return has_bfloat16_ ? std::vector{kFloat32, kBFloat16} : std::vector{kFloat32};
  }

  bool has_bfloat16_ = false;
};

TEST_F(FusedUNetTest, AsksForTheSameParameters) {
  for (const char* config : kConfigs) {
    const ModelDescription model = Describe(config);
    ShapeRecorder recorder;
    MakeFusedUNet(model.config, model.info.channels, Precision::kFloat32, recorder);
    EXPECT_TRUE(recorder.status().ok()) << recorder.status();
    EXPECT_EQ(recorder.shapes(), ShapeRecorder::Of(model).shapes()) << config;
  }
}

TEST_F(FusedUNetTest, ComputesWhatTheReferenceDoes) {
  for (const char* config : kConfigs) {
    const EditableModel model = RandomModel(config);
    const std::unique_ptr<Network> reference = Load(model, kReference);
    const Rows rows(reference->info(), 5);
    const std::vector<float> expected = rows.Denoised(*reference);
    const double size = RootMeanSquare(expected, std::vector<float>(expected.size(), 0.0f));
    EXPECT_LT(RootMeanSquare(rows.Denoised(*Load(model, kFloat32)), expected), 2e-6 * size)
        << config;
    if (!has_bfloat16_) continue;
    const double error = RootMeanSquare(rows.Denoised(*Load(model, kBFloat16)), expected) / size;
    EXPECT_LT(error, 2e-2) << config;
    EXPECT_GT(error, 1e-5) << "that was not bfloat16: " << config;
  }
}

TEST_F(FusedUNetTest, TheDefaultModelInBFloat16IsWithinTheDocumentedBound) {
  if (!has_bfloat16_) GTEST_SKIP() << "no AVX512_BF16";
  const auto reference = Network::Load("model/zoo/nouns32.safetensors", "", kReference);
  const auto rounded = Network::Load("model/zoo/nouns32.safetensors", "", kBFloat16);
  ASSERT_TRUE(reference.ok() && rounded.ok());
  const Rows rows((*reference)->info(), 12);
  EXPECT_LT(RootMeanSquare(rows.Denoised(**rounded), rows.Denoised(**reference)), 4e-3);
}

TEST_F(FusedUNetTest, ARowDependsOnNothingBesideIt) {
  for (const NetworkForm form : Forms()) {
    for (const char* config : kConfigs) {
      const std::unique_ptr<Network> network = Load(RandomModel(config), form);
      const Rows rows(network->info(), 7);
      at::set_num_threads(1);
      const std::vector<float> expected = rows.Denoised(*network);
      const size_t size = expected.size() / rows.rows.size();
      for (const int threads : {2, 3, 5}) {
        at::set_num_threads(threads);
        const std::vector<float> together = rows.Denoised(*network);
        EXPECT_EQ(std::memcmp(together.data(), expected.data(), expected.size() * sizeof(float)), 0)
            << threads << " threads, " << config;
        for (const int row : {0, 4}) {
          const std::vector<float> alone = rows.DenoisedAlone(*network, row);
          EXPECT_EQ(std::memcmp(alone.data(), expected.data() + row * size, size * sizeof(float)),
                    0)
              << "row " << row << ", " << threads << " threads, " << config;
        }
      }
    }
  }
}

TEST_F(FusedUNetTest, NotANumberStaysInItsRow) {
  for (const NetworkForm form : Forms()) {
    const std::unique_ptr<Network> network = Load(RandomModel(kConfigs[0]), form);
    const Rows clean(network->info(), 3);
    const std::vector<float> expected = clean.Denoised(*network);
    const size_t size = expected.size() / 3;
    for (const int threads : {1, 2}) {  // with one, the next rows follow in the same buffers
      at::set_num_threads(threads);
      Rows rows(network->info(), 3);
      rows.x.mutable_data_ptr<float>()[5] = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> denoised = rows.Denoised(*network);
      for (size_t i = 0; i < denoised.size(); ++i) {
        if (i / size == 0) {
          EXPECT_TRUE(std::isnan(denoised[i])) << i;
        } else {
          EXPECT_EQ(denoised[i], expected[i]) << i;
        }
      }
      EXPECT_EQ(clean.Denoised(*network), expected);
    }
  }
}

TEST_F(FusedUNetTest, BatchesAndThreadsMayGrowAndShrinkAndOverlap) {
  const std::unique_ptr<Network> network = Load(RandomModel(kConfigs[0]), kFloat32);
  const Rows rows(network->info(), 7);
  at::set_num_threads(4);
  const std::vector<float> first = rows.DenoisedAlone(*network, 2);
  const std::vector<float> expected = rows.Denoised(*network);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), expected.begin() + 2 * first.size()));
  at::set_num_threads(2);
  EXPECT_EQ(rows.Denoised(*network), expected);
  EXPECT_EQ(rows.DenoisedAlone(*network, 2), first);
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 5; ++repeat) EXPECT_EQ(rows.Denoised(*network), expected);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_F(FusedUNetTest, WhatHasNoFusedFormIsRefusedOrLeftToTheReference) {
  EditableModel filtered = RandomModel(kConfigs[0]);
  filtered.SetConfig("resample_filter", {1, 3, 3, 1});
  for (const auto& [model, why] :
       {std::pair(EditableModel::Whole(kNcsnppVeFixture), "encoder_type or decoder_type"),
        std::pair(EditableModel::Whole(kSongVeSkipFixture), "encoder_type or decoder_type"),
        std::pair(filtered, "resample_filter is not [1, 1]")}) {
    const std::string path = WriteTemporaryFile(model.Serialize());
    const absl::Status status = Network::Load(path, "", kFloat32).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    const auto left = Network::Load(path, "", {Kernels::kAuto, Precision::kFloat32});
    ASSERT_TRUE(left.ok()) << left.status();
    EXPECT_EQ((*left)->info().form.kernels, Kernels::kReference);
    unlink(path.c_str());
  }
  const std::string path = WriteTemporaryFile(RandomModel(kConfigs[0]).Serialize());
  const auto fused = Network::Load(path, "", {Kernels::kAuto, Precision::kFloat32});
  ASSERT_TRUE(fused.ok());
  EXPECT_EQ((*fused)->info().form.kernels, Kernels::kFused);
  EXPECT_EQ(Network::Load(path, "", {Kernels::kReference, Precision::kBFloat16}).status().code(),
            absl::StatusCode::kUnimplemented);
  unlink(path.c_str());
}

TEST_F(FusedUNetTest, AnAttentionOverAnOddNumberOfChannelsHasNoFormInBFloat16) {
  if (!has_bfloat16_) GTEST_SKIP() << "no AVX512_BF16";
  // 130 channels: two heads of 65.
  const ModelDescription model = Describe(
      R"({"model_type": "DhariwalUNet", "img_resolution": 4, "img_channels": 3, "label_dim": 0,
          "model_channels": 130, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [4]})");
  EXPECT_TRUE(CheckFused(model.config, Precision::kFloat32).ok());
  EXPECT_THAT(std::string(CheckFused(model.config, Precision::kBFloat16).message()),
              HasSubstr("odd number of channels"));
}

}  // namespace
}  // namespace skipstream
