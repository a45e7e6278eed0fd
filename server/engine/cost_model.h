// How long evaluations of one network take on this device: the warm-up's measurements, kept current
// by what batches really took.
#ifndef SKIPSTREAM_SERVER_ENGINE_COST_MODEL_H_
#define SKIPSTREAM_SERVER_ENGINE_COST_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/executor.h"

namespace skipstream {

// Thread-safe. Batches are grouped in buckets by their number of rows; per bucket an exponentially
// weighted mean (kWeight per batch) starts from the profile. A bucket nothing is known of lies on
// the line between its neighbours.
class CostModel {
 public:
  static constexpr double kWeight = 0.1;
  // The knee is the smallest batch that has this share of the best throughput: a larger one only
  // makes everybody in it wait longer.
  static constexpr double kKneeThroughput = 0.9;
  static constexpr int kMaxStep = 4;

  // The buckets are 1, 2, 4, ..., max_batch, and nothing is known until there is a profile or
  // batches have run.
  explicit CostModel(int max_batch);

  // Starts again from what Executor::WarmUp measured. InvalidArgument, changing nothing, unless
  // rows ascend to max_batch and every duration is positive.
  absl::Status SetProfile(const std::vector<BucketTiming>& profile);

  // A batch of `rows` rows kept the device busy for `busy`. Times that are not positive are
  // ignored, and of a pause (of the machine, say) no more than kMaxStep times what is known counts.
  void Record(int rows, absl::Duration busy);

  // Rows of the bucket a batch of `rows` rows falls into: the smallest one that holds it.
  int BucketOf(int rows) const;
  std::vector<int> Buckets() const;  // ascending

  // Rows a batch should hold: the knee of the profile's curve. Without a profile that of
  // `AssumeKnee`, else max_batch.
  int Knee() const;

  // For a network without a profile: the knee of another one on the same device, 1 to max_batch.
  void AssumeKnee(int rows);

  // Time of one batch of `rows` rows; zero while nothing is known.
  absl::Duration BatchTime(int rows) const;
  // The same at its best: the profile's, or the shortest there was.
  absl::Duration BestBatchTime(int rows) const;

  // Time for that many rows in batches of at most `max_batch` rows at the best known throughput of
  // any bucket; zero while nothing is known.
  absl::Duration EstimateDuration(int64_t evaluations, int max_batch) const;

 private:
  struct Bucket {
    int rows = 0;
    absl::Duration time = absl::ZeroDuration();  // zero: unknown
    absl::Duration best = absl::InfiniteDuration();
  };

  size_t IndexOf(int rows) const;
  absl::Duration TimeOf(size_t index) const;  // needs mutex_

  mutable std::mutex mutex_;
  std::vector<Bucket> buckets_;  // ascending in rows, which never change; not empty
  int knee_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_COST_MODEL_H_
