#include "server/startup/warm_up.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "model/network_form.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

// A size that now takes less than this part of the cached time was not measured in peace.
constexpr double kClearlyFaster = 0.7;
constexpr size_t kMaxProfileBytes = size_t{64} << 10;
constexpr double kLongestMilliseconds = 3'600'000;

}  // namespace

ProfileCache::ProfileCache(const std::string& model_path, std::string machine)
    : path_(std::filesystem::path(model_path).replace_extension(".profile.json").string()),
      machine_(std::move(machine)) {}

std::string ProfileCache::KeyOf(const LoadedModel& model) const {
  const NetworkInfo& info = model.info();
  return absl::StrCat(info.sha256, " ", Name(info.form.kernels), " ", Name(info.form.precision),
                      " ", machine_);
}

std::vector<BucketTiming> ProfileCache::Read(const LoadedModel& model, int max_batch) const {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path_, error)) return {};
  const absl::StatusOr<std::string> text = ReadFile(path_, kMaxProfileBytes);
  if (!text.ok()) return {};
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("key", nlohmann::json()) != KeyOf(model)) return {};
  const nlohmann::json times = json.value("milliseconds", nlohmann::json());
  const std::vector<int> buckets = CostModel(max_batch).Buckets();
  if (!times.is_array() || times.size() != buckets.size()) return {};
  std::vector<BucketTiming> profile;
  for (size_t i = 0; i < buckets.size(); ++i) {
    const double milliseconds = times[i].is_number() ? times[i].get<double>() : 0.0;
    if (!(milliseconds > 0.0 && milliseconds < kLongestMilliseconds)) return {};
    profile.push_back({buckets[i], absl::Milliseconds(milliseconds)});
  }
  return profile;
}

absl::Status ProfileCache::Write(const LoadedModel& model,
                                 const std::vector<BucketTiming>& profile) const {
  nlohmann::json times = nlohmann::json::array();
  for (const BucketTiming& bucket : profile) {
    times.push_back(absl::ToDoubleMilliseconds(bucket.duration));
  }
  const nlohmann::json json = {{"key", KeyOf(model)}, {"milliseconds", times}};
  std::error_code error;
  if (std::filesystem::exists(path_, error) && !std::filesystem::is_regular_file(path_, error)) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path_, ": it is no regular file"));
  }
  return FileWriter().Write(path_, json.dump(1) + "\n");
}

absl::StatusOr<WarmUpResult> WarmUpModel(Executor& executor, const LoadedModel& model,
                                         absl::Duration budget, const ProfileCache& cache) {
  WarmUpResult result;
  std::vector<BucketTiming> cached = cache.Read(model, executor.max_batch());
  if (!cached.empty() && model.cost().SetProfile(cached).ok()) {
    const absl::StatusOr<std::vector<BucketTiming>> once =
        executor.WarmUp(model.network(), absl::ZeroDuration());
    if (!once.ok()) return once.status();
    result.from_cache = true;
    for (size_t i = 0; i < once->size(); ++i) {
      result.from_cache &= (*once)[i].duration >= kClearlyFaster * cached[i].duration;
    }
    result.profile = std::move(cached);
    if (result.from_cache) return result;
  }
  absl::StatusOr<std::vector<BucketTiming>> measured = executor.WarmUp(model.network(), budget);
  if (!measured.ok()) return measured.status();
  result.profile = *std::move(measured);
  if (absl::Status set = model.cost().SetProfile(result.profile); !set.ok()) return set;
  result.cached = cache.Write(model, result.profile);
  return result;
}

std::string DescribeProcessor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "model name")) return line.substr(line.find(':') + 1);
  }
  return "unknown processor";
}

}  // namespace skipstream
