#include "model/execution/bucket_timing.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace skipstream {

std::vector<BucketTiming> MeasureBuckets(int max_batch, absl::Duration budget,
                                         absl::FunctionRef<absl::Duration(int rows)> time) {
  std::vector<int> buckets;
  for (int rows = 1; rows < max_batch; rows *= 2) buckets.push_back(rows);
  buckets.push_back(max_batch);

  constexpr size_t kEnough = 8;
  const auto start = std::chrono::steady_clock::now();
  const auto has_time = [&] {
    return absl::FromChrono(std::chrono::steady_clock::now() - start) < budget;
  };
  // The first round also prepares LibTorch for every shape, so it counts only if it is the only
  // one. It begins with the largest evaluation: the others find its memory.
  std::vector<absl::Duration> first(buckets.size());
  for (size_t i = buckets.size(); i-- > 0;) first[i] = time(buckets[i]);
  std::vector<std::vector<absl::Duration>> measured(buckets.size());
  for (size_t round = 0; round < kEnough && has_time(); ++round) {
    for (size_t i = 0; i < buckets.size() && has_time(); ++i) {
      measured[i].push_back(time(buckets[i]));
    }
  }
  std::vector<BucketTiming> timings;
  for (size_t i = 0; i < buckets.size(); ++i) {
    std::vector<absl::Duration>& times = measured[i];
    const auto middle = times.begin() + times.size() / 2;
    if (!times.empty()) std::nth_element(times.begin(), middle, times.end());
    timings.push_back({buckets[i], times.empty() ? first[i] : *middle});
  }
  return timings;
}

}  // namespace skipstream
