// Estimates the time of evaluations of one network on this device: it starts with the warm-up's
// measurements and follows the times of batches that ran.
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

// Groups batches in buckets by their number of rows. Per bucket an exponentially weighted mean
// (kWeight per batch) starts from the profile. A bucket without measurements lies on the line
// between its neighbours. Thread-safe.
class CostModel {
 public:
  static constexpr double kWeight = 0.1;
  // The knee is the smallest batch that has this share of the best throughput: a larger one only
  // makes everybody in it wait longer.
  static constexpr double kKneeThroughput = 0.9;
  static constexpr int kMaxStep = 4;

  // Makes buckets 1, 2, 4, ..., max_batch without times; these come with a profile or with batches
  // that run.
  explicit CostModel(int max_batch);

  // Starts again from the measurements of Executor::WarmUp. InvalidArgument, changing nothing,
  // unless rows ascend to max_batch and every duration is positive.
  absl::Status SetProfile(const std::vector<BucketTiming>& profile);

  // Records that a batch of `rows` rows kept the device busy for `busy`. Times that are not
  // positive are ignored. A pause (of the machine, say) counts with at most kMaxStep times the
  // known time.
  void Record(int rows, absl::Duration busy);

  // Returns the rows of the bucket that a batch of `rows` rows falls into: the smallest one that
  // holds it.
  int BucketOf(int rows) const;
  std::vector<int> Buckets() const;  // ascending

  // Returns the rows that a batch should hold: the knee of the profile's curve. Without a profile
  // that of `AssumeKnee`, else max_batch.
  int Knee() const;

  // Sets the knee of a network without a profile to that of another one on the same device, 1 to
  // max_batch.
  void AssumeKnee(int rows);

  // Returns the time of one batch of `rows` rows; zero while nothing is known.
  absl::Duration BatchTime(int rows) const;
  // Returns the best time of such a batch: the profile's, or the shortest recorded one.
  absl::Duration BestBatchTime(int rows) const;

  // Returns the time for `evaluations` rows in batches of at most `max_batch` rows at the best
  // known throughput of any bucket; zero while nothing is known.
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
