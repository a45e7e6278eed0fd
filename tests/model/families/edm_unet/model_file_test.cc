#include "model/families/edm_unet/model_file.h"

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Metadata = std::map<std::string, std::string>;

Metadata Minimal() {
  return {{"preconditioning", "EDMPrecond"},
          {"config", R"({"img_resolution": 32, "img_channels": 3, "label_dim": 2})"}};
}

void ExpectRefused(const Metadata& metadata, const std::string& message,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const absl::Status status = ParseModelMetadata(metadata).status();
  EXPECT_EQ(status.code(), code) << message;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

void ExpectConfigRefused(const std::string& key, const nlohmann::json& value,
                         absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  Metadata metadata = Minimal();
  nlohmann::json config = nlohmann::json::parse(metadata["config"]);
  config[key] = value;
  metadata["config"] = config.dump();
  SCOPED_TRACE(value.dump());
  ExpectRefused(metadata, "'" + key, code);
}

void ExpectPresetRefused(const std::string& preset, const std::string& message) {
  Metadata metadata = Minimal();
  metadata["skip_tuning"] = R"({"presets": [)" + preset + "]}";
  ExpectRefused(metadata, message);
}

TEST(ModelFileTest, AbsentConfigKeysTakeTheDdpmppDefaults) {
  const auto model = ParseModelMetadata(Minimal());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& config = std::get<SongUNetConfig>(model->config);
  EXPECT_EQ(config.model_channels, 128);
  EXPECT_THAT(config.channel_mult, ElementsAre(1, 2, 2, 2));
  EXPECT_EQ(config.num_blocks, 4);
  EXPECT_THAT(config.attn_resolutions, ElementsAre(16));
  EXPECT_EQ(config.embedding_type, SongUNetConfig::Embedding::kPositional);
  EXPECT_EQ(config.encoder_type, SongUNetConfig::Encoder::kStandard);
  EXPECT_EQ(config.decoder_type, SongUNetConfig::Decoder::kStandard);
  EXPECT_EQ(config.noise_channels(), 128);
  EXPECT_THAT(config.resample_filter, ElementsAre(1, 1));
  EXPECT_EQ(model->info.num_skips, 20);
  EXPECT_EQ(model->info.channels, 3);
  EXPECT_EQ(model->info.height, 32);
  EXPECT_EQ(model->info.num_classes, 2);
  EXPECT_EQ(model->info.architecture, "SongUNet");
}

TEST(ModelFileTest, ReadsEveryOptionOfTheSongUNet) {
  Metadata metadata = Minimal();
  metadata["config"] = R"({"img_resolution": 32, "img_channels": 3, "embedding_type": "fourier",
      "encoder_type": "skip", "decoder_type": "skip", "channel_mult_noise": 2,
      "resample_filter": [1, 3, 3, 1], "label_dropout": 0.1, "use_fp16": true})";
  const auto model = ParseModelMetadata(metadata);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& config = std::get<SongUNetConfig>(model->config);
  EXPECT_EQ(config.embedding_type, SongUNetConfig::Embedding::kFourier);
  EXPECT_EQ(config.encoder_type, SongUNetConfig::Encoder::kSkip);
  EXPECT_EQ(config.decoder_type, SongUNetConfig::Decoder::kSkip);
  EXPECT_EQ(config.noise_channels(), 256);
  EXPECT_THAT(config.resample_filter, ElementsAre(1, 3, 3, 1));
  EXPECT_EQ(model->info.label_dropout, 0.1);
}

TEST(ModelFileTest, AbsentConfigKeysOfADhariwalUNetTakeTheAdmDefaults) {
  Metadata metadata = Minimal();
  metadata["preconditioning"] = "iDDPMPrecond";
  metadata["config"] = R"({"img_resolution": 64, "img_channels": 3, "model_type": "DhariwalUNet"})";
  const auto model = ParseModelMetadata(metadata);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& config = std::get<DhariwalUNetConfig>(model->config);
  EXPECT_EQ(config.model_channels, 192);
  EXPECT_THAT(config.channel_mult, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(config.num_blocks, 3);
  EXPECT_THAT(config.attn_resolutions, ElementsAre(32, 16, 8));
  EXPECT_EQ(model->info.architecture, "DhariwalUNet");
  EXPECT_EQ(model->info.num_skips, 16);
  EXPECT_EQ(model->info.label_dropout, 0.0);
  EXPECT_EQ(model->info.sigma_levels.size(), 1000u);
  EXPECT_EQ(model->info.sigma_levels.front(), model->info.sigma_max);
}

TEST(ModelFileTest, ReadsClassesLicenseAndIgnoresForeignMetadata) {
  Metadata metadata = Minimal();
  metadata["classes"] = R"(["cat", "dog"])";
  metadata["license"] = "CC0-1.0";
  metadata["images_seen"] = "42";
  const auto model = ParseModelMetadata(metadata);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->info.class_names, ElementsAre("cat", "dog"));
  EXPECT_EQ(model->info.license, "CC0-1.0");
}

TEST(ModelFileTest, MissingKeysAreNamed) {
  for (const char* key : {"preconditioning", "config"}) {
    Metadata metadata = Minimal();
    metadata.erase(key);
    ExpectRefused(metadata, std::string("'") + key + "' is missing");
  }
  Metadata metadata = Minimal();
  metadata["config"] = R"({"img_channels": 3})";
  ExpectRefused(metadata, "'img_resolution' is missing");
}

TEST(ModelFileTest, ConfigTextThatIsNotPlainJsonIsRefused) {
  Metadata metadata = Minimal();
  for (const char* text : {"", "{", "[]", "3", "{\"a\": NaN}"}) {
    metadata["config"] = text;
    ExpectRefused(metadata, "config");
  }
  metadata["config"] = R"({"img_channels": 3, "img_channels": 3})";
  ExpectRefused(metadata, "duplicate key 'img_channels'");
  metadata["config"] = std::string(60000, '[');
  ExpectRefused(metadata, "nested deeper");
  metadata["config"] = std::string(1 << 20, ' ');
  ExpectRefused(metadata, "longer than the limit");
}

TEST(ModelFileTest, ConfigValuesOutOfRangeAreNamed) {
  for (const nlohmann::json& value : nlohmann::json::parse(R"([0, -8, 33, 5000, 32.5, "32", null,
                                                               1e30, 18446744073709551615])")) {
    ExpectConfigRefused("img_resolution", value);
  }
  ExpectConfigRefused("img_channels", 0);
  ExpectConfigRefused("label_dim", -1);
  ExpectConfigRefused("augment_dim", -1);
  ExpectConfigRefused("model_channels", 5);
  ExpectConfigRefused("model_channels", 2);
  ExpectConfigRefused("model_channels", 1 << 20);
  ExpectConfigRefused("channel_mult", nlohmann::json::array());
  ExpectConfigRefused("channel_mult", nlohmann::json{1, 0});
  ExpectConfigRefused("channel_mult", std::vector<int>(13, 1));
  ExpectConfigRefused("channel_mult", "1, 2");
  ExpectConfigRefused("channel_mult_emb", 0);
  ExpectConfigRefused("num_blocks", 0);
  ExpectConfigRefused("attn_resolutions", nlohmann::json{-1});
  ExpectConfigRefused("dropout", 1.5);
  ExpectConfigRefused("label_dropout", -0.1);
  ExpectConfigRefused("sigma_data", 0);
  ExpectConfigRefused("sigma_max", -1);
  ExpectConfigRefused("use_fp16", 1);
  ExpectConfigRefused("embedding_type", "learned");
  ExpectConfigRefused("embedding_type", 1);
  ExpectConfigRefused("encoder_type", "Skip");
  ExpectConfigRefused("decoder_type", "residual");
  ExpectConfigRefused("channel_mult_noise", 0);
  ExpectConfigRefused("channel_mult_noise", 65);
  ExpectConfigRefused("resample_filter", nlohmann::json::array());
  ExpectConfigRefused("resample_filter", nlohmann::json{1, 2, 1});
  ExpectConfigRefused("resample_filter", std::vector<int>(18, 1));
  ExpectConfigRefused("resample_filter", nlohmann::json{1, -1});
  ExpectConfigRefused("resample_filter", nlohmann::json{1, 1e9});
  ExpectConfigRefused("resample_filter", nlohmann::json{1, "1"});
  ExpectConfigRefused("model_type", 3);
}

TEST(ModelFileTest, UnknownConfigKeysAreNamed) { ExpectConfigRefused("num_heads", 4); }

TEST(ModelFileTest, OtherNetworksAreUnimplementedNamingTheKey) {
  ExpectConfigRefused("model_type", "EDM2UNet", absl::StatusCode::kUnimplemented);
}

TEST(ModelFileTest, OptionsOfTheOtherFamilyAreUnknown) {
  Metadata metadata = Minimal();
  metadata["config"] = R"({"img_resolution": 32, "img_channels": 3, "model_type": "DhariwalUNet",
                           "encoder_type": "standard"})";
  ExpectRefused(metadata, "unknown key 'encoder_type'");
}

TEST(ModelFileTest, ClassesMustBeLabelDimDifferentNames) {
  for (const char* classes : {R"(["cat"])", R"(["a", "b", "c"])", R"({"a": 1, "b": 2})", "[",
                              R"(["cat", 3])", R"(["cat", ""])", R"(["cat", "cat"])"}) {
    Metadata metadata = Minimal();
    metadata["classes"] = classes;
    ExpectRefused(metadata, "classes");
  }
}

TEST(ModelFileTest, ReadsEveryFormOfPreset) {
  Metadata metadata = Minimal();
  nlohmann::json list = std::vector<double>(20, 0.9);
  metadata["skip_tuning"] = R"({"presets": [
    {"name": "default", "nfe": 9, "solver": "heun", "rho": 1.05},
    {"name": "default", "nfe": 9, "rho_bottom": 0.7, "rho_top": 1, "noise": {"window": [5, 80]}},
    {"name": "default", "nfe": 19, "rho": 0.8, "noise": {"ramp": "strongest_at_low_sigma"}},
    {"name": "soft", "nfe": 9, "rho_list": )" +
                            list.dump() + R"(, "noise": {"knots": [[0.1, 0], [10, 1]]}}]})";
  const auto model = ParseModelMetadata(metadata);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& presets = model->info.presets;
  ASSERT_EQ(presets.size(), 4u);
  EXPECT_EQ(presets[0].solver, "heun");
  EXPECT_EQ(presets[0].nfe, 9);
  EXPECT_EQ(std::get<UniformDepth>(presets[0].tuning.depth).rho, 1.05);
  EXPECT_EQ(std::get<LinearDepth>(presets[1].tuning.depth).bottom, 0.7);
  EXPECT_EQ(std::get<WindowNoise>(presets[1].tuning.noise).sigma_hi, 80.0);
  EXPECT_FALSE(std::get<RampNoise>(presets[2].tuning.noise).strongest_at_high_sigma);
  EXPECT_EQ(presets[3].name, "soft");
  EXPECT_EQ(std::get<ExplicitDepth>(presets[3].tuning.depth).rho.size(), 20u);
  EXPECT_EQ(std::get<KnotsNoise>(presets[3].tuning.noise).knots[1].sigma, 10.0);
}

TEST(ModelFileTest, PresetsThatAreWrongAreNamed) {
  ExpectPresetRefused("3", "presets[0]");
  ExpectPresetRefused(R"({"nfe": 9, "rho": 1})", "presets[0]: 'name' is missing");
  ExpectPresetRefused(R"({"name": "", "nfe": 9, "rho": 1})", "'name'");
  ExpectPresetRefused(R"({"name": "a", "rho": 1})", "'nfe' is missing");
  ExpectPresetRefused(R"({"name": "a", "nfe": 0, "rho": 1})", "'nfe'");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "solver": "magic", "rho": 1})", "'solver'");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9})", "exactly one of 'rho'");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "rho": 1, "rho_top": 1})", "exactly one of");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "rho_top": 1})", "'rho_bottom' is missing");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "rho": 2.5})", "'rho'");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "rho_list": [1, 1]})", "20 values");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "rho": 1, "speed": 1})", "unknown key 'speed'");
  const std::string head = R"({"name": "a", "nfe": 9, "rho": 1, "noise": )";
  ExpectPresetRefused(head + "{}}", "noise: needs exactly one");
  ExpectPresetRefused(head + R"({"window": [5]}})", "'window'");
  ExpectPresetRefused(head + R"({"window": [80, 5]}})", "presets[0].noise");
  ExpectPresetRefused(head + R"({"ramp": "up"}})", "'ramp'");
  ExpectPresetRefused(head + R"({"knots": []}})", "presets[0].noise");
  ExpectPresetRefused(head + R"({"knots": [[1, 2, 3]]}})", "'knots'");
  ExpectPresetRefused(head + R"({"knots": [[1, 2]]}})", "presets[0].noise");
  ExpectPresetRefused(R"({"name": "a", "nfe": 9, "rho": 1}, {"name": "a", "nfe": 9, "rho": 1.1})",
                      "presets[1]: repeats");
  Metadata metadata = Minimal();
  metadata["skip_tuning"] = R"({"preset": []})";
  ExpectRefused(metadata, "'presets' is missing");
}

}  // namespace
}  // namespace skipstream
