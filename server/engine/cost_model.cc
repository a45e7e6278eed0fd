#include "server/engine/cost_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace skipstream {

CostModel::CostModel(int max_batch) : knee_(max_batch) {
  for (int rows = 1; rows < max_batch; rows *= 2) buckets_.push_back({.rows = rows});
  buckets_.push_back({.rows = max_batch});
}

absl::Status CostModel::SetProfile(const std::vector<BucketTiming>& profile) {
  std::lock_guard lock(mutex_);
  bool valid = profile.size() == buckets_.size();
  for (size_t i = 0; valid && i < profile.size(); ++i) {
    valid = profile[i].rows == buckets_[i].rows && profile[i].duration > absl::ZeroDuration();
  }
  if (!valid) {
    return absl::InvalidArgumentError(
        absl::StrCat("a profile must have a positive duration for 1, 2, 4, ... ",
                     buckets_.back().rows, " rows"));
  }
  double best = 0.0;  // rows per second
  const auto throughput = [](const Bucket& bucket) {
    return bucket.rows / absl::ToDoubleSeconds(bucket.time);
  };
  for (size_t i = 0; i < profile.size(); ++i) {
    buckets_[i].time = buckets_[i].best = profile[i].duration;
    best = std::max(best, throughput(buckets_[i]));
  }
  knee_ = std::find_if(buckets_.begin(), buckets_.end(), [&](const Bucket& bucket) {
            return throughput(bucket) >= kKneeThroughput * best;
          })->rows;
  return absl::OkStatus();
}

size_t CostModel::IndexOf(int rows) const {
  size_t index = 0;
  while (index + 1 < buckets_.size() && buckets_[index].rows < rows) ++index;
  return index;
}

void CostModel::Record(int rows, absl::Duration busy) {
  if (busy <= absl::ZeroDuration()) return;
  std::lock_guard lock(mutex_);
  Bucket& bucket = buckets_[IndexOf(rows)];
  bucket.best = std::min(bucket.best, busy);
  if (bucket.time == absl::ZeroDuration()) {
    bucket.time = busy;
  } else {
    bucket.time += kWeight * (std::min(busy, kMaxStep * bucket.time) - bucket.time);
  }
}

int CostModel::BucketOf(int rows) const { return buckets_[IndexOf(rows)].rows; }

std::vector<int> CostModel::Buckets() const {
  std::vector<int> rows;
  for (const Bucket& bucket : buckets_) rows.push_back(bucket.rows);
  return rows;
}

int CostModel::Knee() const {
  std::lock_guard lock(mutex_);
  return knee_;
}

void CostModel::AssumeKnee(int rows) {
  std::lock_guard lock(mutex_);
  knee_ = std::clamp(rows, 1, buckets_.back().rows);
}

absl::Duration CostModel::TimeOf(size_t index) const {
  const auto known = [&](size_t i) { return buckets_[i].time > absl::ZeroDuration(); };
  if (known(index)) return buckets_[index].time;
  size_t below = index;
  while (below > 0 && !known(below)) --below;
  size_t above = index;
  while (above + 1 < buckets_.size() && !known(above)) ++above;
  if (!known(below)) return buckets_[above].time;  // no less is known to be faster
  const Bucket& low = buckets_[below];
  if (!known(above)) return low.time * buckets_[index].rows / low.rows;
  const Bucket& high = buckets_[above];
  return low.time +
         (high.time - low.time) * (buckets_[index].rows - low.rows) / (high.rows - low.rows);
}

absl::Duration CostModel::BatchTime(int rows) const {
  std::lock_guard lock(mutex_);
  return TimeOf(IndexOf(rows));
}

absl::Duration CostModel::BestBatchTime(int rows) const {
  std::lock_guard lock(mutex_);
  const size_t index = IndexOf(rows);
  return std::min(TimeOf(index), buckets_[index].best);
}

absl::Duration CostModel::EstimateDuration(int64_t evaluations, int max_batch) const {
  std::lock_guard lock(mutex_);
  absl::Duration per_row = absl::InfiniteDuration();
  for (const Bucket& bucket : buckets_) {
    const bool allowed = bucket.rows <= max_batch || &bucket == &buckets_[IndexOf(max_batch)];
    if (bucket.time > absl::ZeroDuration() && allowed) {
      per_row = std::min(per_row, bucket.time / std::min(bucket.rows, max_batch));
    }
  }
  return per_row == absl::InfiniteDuration() ? absl::ZeroDuration() : per_row * evaluations;
}

}  // namespace skipstream
