#include "model/files/presets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/strict_json.h"
#include "model/diffusion/sampler.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

constexpr size_t kMaxBytes = 256 << 10;
constexpr double kMaxSigma = 1e12;
constexpr char kDescriptors[] = "/proc/self/fd/";

absl::StatusOr<DepthProfile> ParseDepth(FieldReader& entry, int num_skips) {
  const bool uniform = entry.Has("rho");
  const bool linear = entry.Has("rho_bottom") || entry.Has("rho_top");
  const bool list = entry.Has("rho_list");
  if (uniform + linear + list != 1) {
    return absl::InvalidArgumentError(
        "needs exactly one of 'rho', 'rho_bottom' with 'rho_top', and 'rho_list'");
  }
  if (uniform) {
    UniformDepth depth;
    entry.Number("rho", kMinRho, kMaxRho, &depth.rho);
    return depth;
  }
  if (linear) {
    LinearDepth depth;
    entry.Require("rho_bottom");
    entry.Require("rho_top");
    entry.Number("rho_bottom", kMinRho, kMaxRho, &depth.bottom);
    entry.Number("rho_top", kMinRho, kMaxRho, &depth.top);
    return depth;
  }
  ExplicitDepth depth;
  const size_t count = static_cast<size_t>(num_skips);
  entry.Numbers("rho_list", kMinRho, kMaxRho, count, &depth.rho);
  if (depth.rho.size() != count) {
    entry.Fail("rho_list", absl::StrCat("must hold ", count, " values, one per skip"));
  }
  return depth;
}

absl::StatusOr<NoiseProfile> ParseNoise(const nlohmann::json& json, const std::string& what) {
  FieldReader noise(json, what);
  if (noise.Has("window") + noise.Has("ramp") + noise.Has("knots") != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": needs exactly one of 'window', 'ramp' and 'knots'"));
  }
  NoiseProfile profile;
  if (noise.Has("window")) {
    std::vector<double> window;
    noise.Numbers("window", 0.0, kMaxSigma, 2, &window);
    if (window.size() != 2) {
      noise.Fail("window", "must be [sigma_lo, sigma_hi]");
    } else {
      profile = WindowNoise{window[0], window[1]};
    }
  } else if (noise.Has("ramp")) {
    std::string ramp;
    noise.String("ramp", &ramp);
    if (ramp != "strongest_at_high_sigma" && ramp != "strongest_at_low_sigma") {
      noise.Fail("ramp", "must be strongest_at_high_sigma or strongest_at_low_sigma");
    }
    profile = RampNoise{ramp == "strongest_at_high_sigma"};
  } else {
    KnotsNoise knots;
    const nlohmann::json* list = noise.Raw("knots");
    if (list != nullptr && (!list->is_array() || list->size() > size_t{kMaxNoiseKnots})) {
      noise.Fail("knots", absl::StrCat("must be a list of at most ", kMaxNoiseKnots, " knots"));
    } else if (list != nullptr) {
      for (const nlohmann::json& knot : *list) {
        if (!knot.is_array() || knot.size() != 2 || !knot[0].is_number() || !knot[1].is_number()) {
          noise.Fail("knots", "must hold [sigma, strength] pairs");
          break;
        }
        knots.knots.push_back({knot[0].get<double>(), knot[1].get<double>()});
      }
    }
    profile = std::move(knots);
  }
  if (absl::Status status = noise.Finish(); !status.ok()) return status;
  if (absl::Status status = ValidateNoise(profile); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", status.message()));
  }
  return profile;
}

absl::StatusOr<SkipTuningPreset> ParsePreset(const nlohmann::json& json, int num_skips,
                                             const std::string& what) {
  FieldReader entry(json, what);
  SkipTuningPreset preset;
  entry.Require("name");
  entry.String("name", &preset.name);
  if (preset.name.empty() || preset.name.size() > 64) {
    entry.Fail("name", "must have 1 to 64 characters");
  }
  entry.Require("nfe");
  entry.Integer("nfe", 1, 100000, &preset.nfe);
  entry.String("solver", &preset.solver);
  if (entry.Has("solver") && !SolverFromName(preset.solver).has_value()) {
    entry.Fail("solver", "names no solver");
  }
  absl::StatusOr<DepthProfile> depth = ParseDepth(entry, num_skips);
  if (!depth.ok()) {
    entry.Fail(absl::InvalidArgumentError(absl::StrCat(what, ": ", depth.status().message())));
  } else {
    preset.tuning.depth = *std::move(depth);
  }
  if (const nlohmann::json* noise = entry.Raw("noise"); noise != nullptr) {
    absl::StatusOr<NoiseProfile> profile = ParseNoise(*noise, absl::StrCat(what, ".noise"));
    if (!profile.ok()) {
      entry.Fail(profile.status());
    } else {
      preset.tuning.noise = *std::move(profile);
    }
  }
  if (absl::Status status = entry.Finish(); !status.ok()) return status;
  return preset;
}

// Returns the contents, cut after kMaxBytes + 1, so that the parser sees that they are too long.
// Returns nothing if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadIfThere(const std::string& path, int flags) {
  // Not blocking: opening a pipe nobody writes to must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
  if (fd < 0 && errno == ENOENT) return std::nullopt;
  absl::Status cannot_be_read = absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  if (fd < 0) return cannot_be_read;
  const absl::Cleanup close_file = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return cannot_be_read;
  std::string text(kMaxBytes + 1, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(fd, text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_be_read;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

}  // namespace

absl::StatusOr<std::vector<SkipTuningPreset>> ParsePresets(const std::string& json, int num_skips,
                                                           const std::string& where) {
  absl::StatusOr<nlohmann::json> root = ParseStrictJson(json, where, kMaxBytes);
  if (!root.ok()) return root.status();
  FieldReader fields(*root, where);
  fields.Require("presets");
  const nlohmann::json* list = fields.Raw("presets");
  if (list != nullptr && !list->is_array()) fields.Fail("presets", "must be a list");
  if (absl::Status status = fields.Finish(); !status.ok()) return status;

  std::vector<SkipTuningPreset> presets;
  std::set<std::tuple<std::string, int, std::string>> seen;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string what = absl::StrCat(where, ": presets[", i, "]");
    absl::StatusOr<SkipTuningPreset> preset = ParsePreset((*list)[i], num_skips, what);
    if (!preset.ok()) return preset.status();
    if (!seen.emplace(preset->name, preset->nfe, preset->solver).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": repeats the name, nfe and solver of an earlier entry"));
    }
    presets.push_back(*std::move(preset));
  }
  return presets;
}

absl::Status AddPresetsBeside(const std::string& model_path, int num_skips,
                              std::vector<SkipTuningPreset>& presets) {
  std::filesystem::path path = model_path;
  const bool by_descriptor = absl::StartsWith(model_path, kDescriptors);
  if (by_descriptor) {
    std::error_code error;
    path = std::filesystem::read_symlink(path, error);
    if (error) return absl::NotFoundError(absl::StrCat(model_path, ": is no open descriptor"));
  }
  path.replace_extension(".presets.json");
  absl::StatusOr<std::optional<std::string>> text =
      ReadIfThere(path.string(), by_descriptor ? O_NOFOLLOW : 0);
  if (!text.ok()) return text.status();
  if (!text->has_value()) return absl::OkStatus();
  absl::StatusOr<std::vector<SkipTuningPreset>> added =
      ParsePresets(**text, num_skips, path.string());
  if (!added.ok()) return added.status();
  const auto key = [](const SkipTuningPreset& preset) {
    return std::tie(preset.name, preset.nfe, preset.solver);
  };
  std::erase_if(presets, [&](const SkipTuningPreset& old) {
    return std::any_of(added->begin(), added->end(),
                       [&](const SkipTuningPreset& preset) { return key(preset) == key(old); });
  });
  presets.insert(presets.end(), added->begin(), added->end());
  return absl::OkStatus();
}

}  // namespace skipstream
