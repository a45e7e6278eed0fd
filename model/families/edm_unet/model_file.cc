#include "model/families/edm_unet/model_file.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/quoted_name.h"
#include "base/strict_json.h"
#include "model/files/presets.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

constexpr size_t kMaxConfigBytes = 64 << 10;
constexpr size_t kMaxClassesBytes = 1 << 20;
constexpr size_t kMaxLicenseBytes = 64 << 10;
constexpr size_t kMaxClassNameBytes = 256;
constexpr char kSongUNet[] = "SongUNet";
constexpr char kDhariwalUNet[] = "DhariwalUNet";

const std::string* Find(const std::map<std::string, std::string>& metadata,
                        const std::string& key) {
  const auto it = metadata.find(key);
  return it == metadata.end() ? nullptr : &it->second;
}

absl::StatusOr<std::vector<std::string>> ParseClasses(const std::string& text, int label_dim) {
  constexpr char kWhat[] = "metadata 'classes'";
  absl::StatusOr<nlohmann::json> json = ParseStrictJson(text, kWhat, kMaxClassesBytes);
  if (!json.ok()) return json.status();
  if (!json->is_array() || json->size() != static_cast<size_t>(label_dim)) {
    return absl::InvalidArgumentError(absl::StrCat(
        kWhat, " must be a list of label_dim = ", label_dim, " names, has ", json->size()));
  }
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (size_t i = 0; i < json->size(); ++i) {
    const nlohmann::json& item = (*json)[i];
    if (!item.is_string() || item.get_ref<const std::string&>().empty() ||
        item.get_ref<const std::string&>().size() > kMaxClassNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(kWhat, "[", i, "] must be a name of 1 to ", kMaxClassNameBytes, " bytes"));
    }
    names.push_back(item.get<std::string>());
    if (!seen.insert(names.back()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(kWhat, "[", i, "] repeats ", QuotedName(names.back())));
    }
  }
  return names;
}

}  // namespace

absl::StatusOr<ModelDescription> ParseModelMetadata(
    const std::map<std::string, std::string>& metadata) {
  for (const char* key : {"preconditioning", "config"}) {
    if (Find(metadata, key) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("metadata '", key, "' is missing"));
    }
  }
  absl::StatusOr<nlohmann::json> json =
      ParseStrictJson(*Find(metadata, "config"), "config", kMaxConfigBytes);
  if (!json.ok()) return json.status();
  FieldReader fields(*json, "config");
  std::string architecture = kSongUNet;
  fields.String("model_type", &architecture);
  std::variant<SongUNetConfig, DhariwalUNetConfig> config;
  if (architecture == kSongUNet) {
    config = ReadSongUNetConfig(fields);
  } else if (architecture == kDhariwalUNet) {
    config = ReadDhariwalUNetConfig(fields);
  } else {
    return absl::UnimplementedError(absl::StrCat("config: 'model_type' ", QuotedName(architecture),
                                                 " is not supported; only '", kSongUNet, "' and '",
                                                 kDhariwalUNet, "' are"));
  }
  absl::StatusOr<Preconditioning> preconditioning =
      Preconditioning::Parse(*Find(metadata, "preconditioning"), fields);
  if (!preconditioning.ok()) return preconditioning.status();
  if (absl::Status status = fields.Finish(); !status.ok()) return status;

  ModelDescription model{std::move(config), {}};
  const UNetConfig& unet = model.unet();
  NetworkInfo& info = model.info;
  info.parametrization = *std::move(preconditioning);
  info.preconditioning = *Find(metadata, "preconditioning");
  info.architecture = architecture;
  info.channels = unet.img_channels;
  info.height = unet.img_resolution;
  info.width = unet.img_resolution;
  info.num_classes = unet.label_dim;
  info.label_dropout = unet.label_dropout;
  info.num_skips = unet.num_skips();
  info.sigma_min = info.parametrization.sigma_min();
  info.sigma_max = info.parametrization.sigma_max();
  info.sigma_levels = info.parametrization.sigma_levels();
  if (const std::string* classes = Find(metadata, "classes"); classes != nullptr) {
    absl::StatusOr<std::vector<std::string>> names = ParseClasses(*classes, unet.label_dim);
    if (!names.ok()) return names.status();
    info.class_names = *std::move(names);
  }
  if (const std::string* skip_tuning = Find(metadata, "skip_tuning"); skip_tuning != nullptr) {
    absl::StatusOr<std::vector<SkipTuningPreset>> presets =
        ParsePresets(*skip_tuning, info.num_skips, "metadata 'skip_tuning'");
    if (!presets.ok()) return presets.status();
    info.presets = *std::move(presets);
  }
  if (const std::string* license = Find(metadata, "license"); license != nullptr) {
    if (license->size() > kMaxLicenseBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("metadata 'license' is longer than ", kMaxLicenseBytes, " bytes"));
    }
    info.license = *license;
  }
  return model;
}

}  // namespace skipstream
