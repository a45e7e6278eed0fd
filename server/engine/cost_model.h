// How long evaluations take on this device: the warm-up's measurements, kept current by what
// batches really took.
#ifndef SKIPSTREAM_SERVER_ENGINE_COST_MODEL_H_
#define SKIPSTREAM_SERVER_ENGINE_COST_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/time/time.h"
#include "model/step_executor.h"

namespace skipstream {

// Thread-safe. Batches are grouped in buckets by their number of rows; per bucket an exponentially
// weighted mean (kWeight per batch) starts from the profile.
class CostModel {
 public:
  static constexpr double kWeight = 0.1;

  // `profile` is what StepExecutor::WarmUp returned, or empty: then the buckets are 1, 2, 4, ...,
  // max_batch, and nothing is known until batches have run.
  CostModel(const std::vector<BucketTiming>& profile, int max_batch);

  // A batch of `rows` rows kept the device busy for `busy`. Times that are not positive are
  // ignored.
  void Record(int rows, absl::Duration busy);

  // Rows of the bucket a batch of `rows` rows falls into: the smallest one that holds it.
  int BucketOf(int rows) const;
  std::vector<int> Buckets() const;  // ascending

  // Time of one batch of `rows` rows; zero while its bucket is unknown.
  absl::Duration BatchTime(int rows) const;

  // Time for that many rows at the best known throughput of any bucket; zero while none is known.
  absl::Duration EstimateDuration(int64_t evaluations) const;

  // Time until a request of `samples` samples with `rows_per_sample` rows each is done, when
  // `evaluations_ahead` rows come first: the throughput bound, but never less than the sample's
  // rows one after the other in batches of its own request.
  absl::Duration EstimateRequest(int64_t evaluations_ahead, int samples, int rows_per_sample) const;

 private:
  struct Bucket {
    int rows = 0;
    absl::Duration time;  // zero: unknown
  };

  size_t IndexOf(int rows) const;

  mutable std::mutex mutex_;     // guards the times; the rows never change
  std::vector<Bucket> buckets_;  // ascending in rows, not empty
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_COST_MODEL_H_
