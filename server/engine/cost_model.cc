#include "server/engine/cost_model.h"

#include <algorithm>

namespace skipstream {

CostModel::CostModel(const std::vector<BucketTiming>& profile, int max_batch) {
  for (const BucketTiming& timing : profile) buckets_.push_back({timing.rows, timing.duration});
  if (!buckets_.empty()) return;
  for (int rows = 1; rows < max_batch; rows *= 2) buckets_.push_back({rows, absl::ZeroDuration()});
  buckets_.push_back({max_batch, absl::ZeroDuration()});
}

size_t CostModel::IndexOf(int rows) const {
  size_t index = 0;
  while (index + 1 < buckets_.size() && buckets_[index].rows < rows) ++index;
  return index;
}

void CostModel::Record(int rows, absl::Duration busy) {
  if (busy <= absl::ZeroDuration()) return;
  std::lock_guard lock(mutex_);
  absl::Duration& time = buckets_[IndexOf(rows)].time;
  time = time == absl::ZeroDuration() ? busy : time + kWeight * (busy - time);
}

int CostModel::BucketOf(int rows) const { return buckets_[IndexOf(rows)].rows; }

std::vector<int> CostModel::Buckets() const {
  std::vector<int> rows;
  for (const Bucket& bucket : buckets_) rows.push_back(bucket.rows);
  return rows;
}

absl::Duration CostModel::BatchTime(int rows) const {
  std::lock_guard lock(mutex_);
  return buckets_[IndexOf(rows)].time;
}

absl::Duration CostModel::EstimateDuration(int64_t evaluations) const {
  std::lock_guard lock(mutex_);
  absl::Duration per_row = absl::InfiniteDuration();
  for (const Bucket& bucket : buckets_) {
    if (bucket.time > absl::ZeroDuration()) per_row = std::min(per_row, bucket.time / bucket.rows);
  }
  return per_row == absl::InfiniteDuration() ? absl::ZeroDuration() : per_row * evaluations;
}

absl::Duration CostModel::EstimateRequest(int64_t evaluations_ahead, int samples,
                                          int rows_per_sample) const {
  const absl::Duration by_throughput = EstimateDuration(int64_t{samples} * rows_per_sample);
  const absl::Duration by_latency = BatchTime(samples) * rows_per_sample;
  return EstimateDuration(evaluations_ahead) + std::max(by_throughput, by_latency);
}

}  // namespace skipstream
