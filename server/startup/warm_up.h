// Measures the time of a model's evaluations before traffic comes, or reads an earlier measurement.
#ifndef SKIPSTREAM_SERVER_STARTUP_WARM_UP_H_
#define SKIPSTREAM_SERVER_STARTUP_WARM_UP_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/executor.h"
#include "server/engine/model_registry.h"

namespace skipstream {

// Keeps a profile beside the model, as NAME.profile.json.
class ProfileCache {
 public:
  // `machine` names everything a profile depends on besides the model: version, device, threads. A
  // profile that was measured elsewhere is not used.
  ProfileCache(const std::string& model_path, std::string machine);

  // Returns the profile; empty if there is none that fits, whatever is wrong with the file.
  std::vector<BucketTiming> Read(const LoadedModel& model, int max_batch) const;
  // Replaces the file as a whole. Unavailable if it cannot be written (a directory without rights).
  absl::Status Write(const LoadedModel& model, const std::vector<BucketTiming>& profile) const;

 private:
  std::string KeyOf(const LoadedModel& model) const;

  const std::string path_;
  const std::string machine_;
};

struct WarmUpResult {
  std::vector<BucketTiming> profile;
  bool from_cache = false;
  absl::Status cached;  // outcome of writing a new profile
};

// Runs every batch size at least once, so that the first requests find everything prepared, and
// sets the profile of the model's cost model. It is the cached one, unless a size runs clearly
// faster now (the cache was measured on a busy machine). Else it is measured within about `budget`.
absl::StatusOr<WarmUpResult> WarmUpModel(Executor& executor, const LoadedModel& model,
                                         absl::Duration budget, const ProfileCache& cache);

// Returns the name of the CPU, a part of `machine`.
std::string DescribeProcessor();

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_STARTUP_WARM_UP_H_
