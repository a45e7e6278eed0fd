// The fused kernels against the reference ones.
#include "model/backends/cpu/fused_unet.h"

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/execution/network.h"
#include "model/families/edm_unet/model_file.h"
#include "tests/model/families/edm_unet/random_model.h"
#include "tests/model/families/edm_unet/shape_recorder.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

constexpr NetworkForm kReference = {Kernels::kReference, Precision::kFloat32};
constexpr NetworkForm kFloat32 = {Kernels::kFused, Precision::kFloat32};
constexpr NetworkForm kBFloat16 = {Kernels::kFused, Precision::kBFloat16};

std::unique_ptr<Network> Load(const EditableModel& model, NetworkForm form) {
  const std::string path = WriteTemporaryFile(model.Serialize());
  auto network = Network::Load(path, "", form);
  unlink(path.c_str());
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
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
