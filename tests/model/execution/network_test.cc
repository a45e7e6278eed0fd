#include "model/execution/network.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/files/safetensors.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_reader.h"
#include "tests/model/families/edm_unet/shape_recorder.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
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

// One image per row, a function of the row's seed.
at::Tensor Images(const NetworkInfo& info, const std::vector<int>& seeds) {
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
  const at::Tensor d = network.Denoise(Images(network.info(), seeds), rows);
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
  EXPECT_EQ(info.sha256, "b1595e29d48afb1b0a7af54350abb85bdd2d4898a0c6a24e9c185d6146a599d7");
}

TEST(NetworkTest, PresetsBesideTheFileJoinAndReplaceThoseInIt) {
  EditableModel model = EditableModel::Small(kDdpmppEdmFixture);
  model.metadata["skip_tuning"] =
      R"({"presets": [{"name": "default", "nfe": 9, "rho": 0.9},
                      {"name": "default", "nfe": 19, "rho": 0.95}]})";
  const std::string path = WriteTemporaryFile(model.Serialize());
  const std::string beside =
      std::filesystem::path(path).replace_extension(".presets.json").string();
  const auto load = [&](const std::string& presets) {
    std::ofstream(beside) << presets;
    return Network::Load(path);
  };
  const auto network = load(R"({"presets": [{"name": "default", "nfe": 9, "rho": 1.1},
                                            {"name": "mine", "nfe": 5, "solver": "heun", "rho": 1.2}]})");
  ASSERT_TRUE(network.ok()) << network.status();
  std::vector<std::pair<int, double>> rho_by_nfe;
  for (const SkipTuningPreset& preset : (*network)->info().presets) {
    rho_by_nfe.emplace_back(preset.nfe, std::get<UniformDepth>(preset.tuning.depth).rho);
  }
  EXPECT_THAT(rho_by_nfe, ElementsAre(Pair(19, 0.95), Pair(9, 1.1), Pair(5, 1.2)));

  for (const char* bad : {"", "{", R"({"presets": [{"name": "x", "nfe": 9, "rho": 3}]})"}) {
    const absl::Status status = load(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(status.message()), StartsWith(beside)) << bad;
  }
  EXPECT_FALSE(load(std::string(1 << 20, ' ')).ok());
  std::filesystem::remove(beside);
  ASSERT_EQ(mkfifo(beside.c_str(), 0600), 0);  // which nobody writes to
  EXPECT_EQ(Network::Load(path).status().code(), absl::StatusCode::kInvalidArgument);
  std::filesystem::remove(beside);
  EXPECT_TRUE(Network::Load(path).ok());
  unlink(path.c_str());
}

TEST(NetworkTest, AFileGivenAsADescriptorTakesItsPresetsFromBesideItButNotThroughALink) {
  const std::string path = WriteTemporaryFile(EditableModel::Small(kDdpmppEdmFixture).Serialize());
  const std::string beside =
      std::filesystem::path(path).replace_extension(".presets.json").string();
  std::ofstream(beside) << R"({"presets": [{"name": "mine", "nfe": 9, "rho": 0.9}]})";
  const int fd = open(path.c_str(), O_PATH | O_CLOEXEC);
  const std::string descriptor = "/proc/self/fd/" + std::to_string(fd);
  const auto network = Network::Load(descriptor);
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ((*network)->info().presets.size(), 1u);

  std::filesystem::rename(beside, beside + ".elsewhere");
  std::filesystem::create_symlink(beside + ".elsewhere", beside);
  EXPECT_TRUE(Network::Load(path).ok());
  EXPECT_EQ(Network::Load(descriptor).status().code(), absl::StatusCode::kInvalidArgument);
  close(fd);
  for (const std::string& file : {path, beside, beside + ".elsewhere"}) unlink(file.c_str());
}

TEST(NetworkTest, ResampleFiltersMayBeStoredOrNot) {
  for (const char* fixture : {kDdpmppVpFixture, kNcsnppVeFixture, kAdmEdmFixture}) {
    EditableModel model = EditableModel::Small(fixture);
    ASSERT_TRUE(LoadContents(model.Serialize()).ok());
    std::erase_if(model.tensors, [](const auto& item) {
      return item.first.find("resample_filter") != std::string::npos;
    });
    ASSERT_TRUE(LoadContents(model.Serialize()).ok());
  }
}

TEST(NetworkTest, AStoredFilterThatIsNotTheConfiguredOneIsRefused) {
  for (const char* fixture : {kDdpmppVpFixture, kNcsnppVeFixture, kAdmEdmFixture}) {
    for (const char* layer : {"enc.8x8_down.conv0", "enc.8x8_down.skip", "dec.16x16_up.conv0"}) {
      EditableModel model = EditableModel::Small(fixture);
      const std::string name = absl::StrCat("model.", layer, ".resample_filter");
      model.SetElement(name, 1, 0.125f);
      ExpectRefused(model, "'" + name + "' disagrees with the config: element 1");
    }
  }
  EditableModel model = EditableModel::Small(kNcsnppVeFixture);
  model.SetElement("model.enc.8x8_aux_residual.resample_filter", 0, 0.125f);
  ExpectRefused(model, "'model.enc.8x8_aux_residual.resample_filter' disagrees");
  model = EditableModel::Small(kNcsnppVeFixture);
  model.SetConfig("resample_filter", {1, 1});
  ExpectRefused(model, "resample_filter' has shape [1, 1, 4, 4], must be [1, 1, 2, 2]");
}

TEST(NetworkTest, StoredLevelsMayBeThereOrNotButMustBeTheConfiguredOnes) {
  const EditableModel whole = EditableModel::Whole(kAdmIddpmFixture);
  EXPECT_TRUE(LoadContents(whole.Serialize()).ok());
  EditableModel model = whole;
  model.tensors.erase("u");
  EXPECT_TRUE(LoadContents(model.Serialize()).ok());
  model = whole;
  model.SetElement("u", 500, 1.0f);
  ExpectRefused(model, "'u' disagrees with the config: element 500");
  model = whole;
  model.SetConfig("M", 500);
  ExpectRefused(model, "'u' has shape [1001], must be [501]");
  // Only this preconditioner has levels to store.
  model = whole;
  model.metadata["preconditioning"] = "EDMPrecond";
  ExpectRefused(model, "'model.out_conv.weight' has shape [6,");
}

TEST(NetworkTest, EveryMissingTensorIsNamed) {
  for (const char* fixture : {kDdpmppEdmFixture, kNcsnppVeFixture, kAdmEdmFixture}) {
    const EditableModel whole = EditableModel::Small(fixture);
    for (const auto& [name, tensor] : whole.tensors) {
      if (name.find("resample_filter") != std::string::npos) continue;
      EditableModel model = whole;
      model.tensors.erase(name);
      ExpectRefused(model, "tensor '" + name + "' is missing");
    }
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
  TakeNorm(reader, "norm", 132);
  EXPECT_THAT(std::string(reader.Finish().message()),
              HasSubstr("norm would split 132 channels into 32 groups"));
  unlink(path.c_str());
}

TEST(NetworkTest, ChannelsThatDoNotFormEvenHeadsAreRefused) {
  ShapeRecorder recorder;
  Attention::CheckHeads(recorder, "block", 224, 3);
  EXPECT_THAT(std::string(recorder.status().message()),
              HasSubstr("block.qkv would split 224 channels into 3 heads"));
}

TEST(NetworkTest, KernelsAreReadWholeWhateverThePieces) {
  // Larger than what is read at once, in width and in number.
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 9000, 3, 3}, std::vector<int64_t>{1500, 7, 3, 3},
        std::vector<int64_t>{300, 301, 1, 1}}) {
    const int64_t elements = ShapeRecorder::Elements(shape);
    std::vector<float> values(elements);
    for (int64_t i = 0; i < elements; ++i) values[i] = static_cast<float>(i % 65521);
    EditableModel model;
    model.tensors["k"] = {
        "F32", shape,
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float))};
    const std::string path = WriteTemporaryFile(model.Serialize());
    const auto file = SafetensorsFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ParameterReader reader(*file, "");
    const at::Tensor kernel = reader.TakeKernel("k", shape);
    const at::Tensor plain = reader.Take("k", shape);
    EXPECT_TRUE(reader.Finish().ok()) << reader.Finish();
    EXPECT_TRUE(kernel.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(plain.is_contiguous());
    EXPECT_EQ(reader.parameter_count(), 2 * elements);
    for (const at::Tensor& tensor : {kernel.contiguous(), plain}) {
      EXPECT_TRUE(std::equal(values.begin(), values.end(), tensor.const_data_ptr<float>()));
    }
    unlink(path.c_str());
  }
}

TEST(NetworkTest, AValueThatIsNotFiniteIsFoundWhereverItIs) {
  for (const size_t index : {size_t{0}, size_t{70000}, size_t{3 * 9000 * 9 - 1}}) {
    EditableModel model;
    model.tensors["k"] = {"F32", {3, 9000, 3, 3}, std::string(size_t{3} * 9000 * 9 * 4, '\0')};
    model.SetElement("k", index, std::numeric_limits<float>::infinity());
    const std::string path = WriteTemporaryFile(model.Serialize());
    const auto file = SafetensorsFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    for (const bool kernel : {false, true}) {
      ParameterReader reader(*file, "");
      const at::Tensor taken =
          kernel ? reader.TakeKernel("k", {3, 9000, 3, 3}) : reader.Take("k", {3, 9000, 3, 3});
      EXPECT_FALSE(taken.defined());
      EXPECT_THAT(std::string(reader.Finish().message()),
                  HasSubstr("'k' holds a value that is not"));
    }
    unlink(path.c_str());
  }
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

TEST(NetworkTest, EverySkipCoefficientHasAnEffectInEveryFamily) {
  for (const char* fixture : {kNcsnppVeFixture, kAdmEdmFixture}) {
    const auto network = LoadSmall(fixture);
    const std::vector<float> ones(network->info().num_skips, 1.0f);
    const std::vector<float> plain = Denoised(*network, {1}, {{1.0, 1.0, -1, ones}});
    for (size_t i = 0; i < ones.size(); ++i) {
      std::vector<float> rho = ones;
      rho[i] = 0.5f;
      EXPECT_GT(LargestDifference(plain, Denoised(*network, {1}, {{1.0, 1.0, -1, rho}})), 1e-5)
          << fixture << " " << i;
    }
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
