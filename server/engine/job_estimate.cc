#include "server/engine/job_estimate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

// Waiting times are estimates: a full queue would otherwise be full of jobs that are just too late.
constexpr double kWaitMargin = 0.15;

}  // namespace

absl::Duration JobEstimate::Estimate(absl::Duration before, const std::vector<int>& samples_ahead,
                                     BatchTimes times) const {
  const Scheduler::Ready& ready = entry_.ready;
  // Rows that samples like these can have in a batch, slots permitting.
  const int places = std::min(ready.max_batch, device_.num_slots * ready.rows);
  const RequestWork work = {.samples = static_cast<int>(job_.samples.size()),
                            .rows_per_sample = job_.plan->rows(),
                            .rows_per_step = ready.rows};
  return EstimateCompletion(job_.model->cost(), places, before, samples_ahead, work, times);
}

absl::Duration JobEstimate::Alone(BatchTimes times) const {
  return Estimate(absl::ZeroDuration(), {}, times);
}

absl::Duration JobEstimate::Behind(const Scheduler::WorkAhead& ahead) const {
  // One batch of those in flight is half done on average.
  absl::Duration before = ahead.other_time;
  if (device_.batches_in_flight > 0) {
    before +=
        (device_.batches_in_flight - 0.5) * job_.model->cost().BatchTime(entry_.ready.max_batch);
  }
  return Estimate(before, ahead.samples, BatchTimes::kUsual);
}

absl::Status JobEstimate::CheckTimeLeft(absl::Duration left,
                                        std::optional<absl::Duration> behind) const {
  const absl::Duration alone = Alone(BatchTimes::kBest);
  // On an idle device there is nothing to wait for, and it would never learn if it had become too
  // slow by a mistake: only a job that is hopeless at its best is refused then.
  absl::Duration expected;
  if (device_.has_other_jobs || device_.batches_in_flight > 0) {
    const absl::Duration time = behind.value_or(alone);
    expected =
        time + kWaitMargin * std::max(time - Alone(BatchTimes::kUsual), absl::ZeroDuration());
  }
  if (std::max(alone, expected) <= left) return absl::OkStatus();
  const bool is_hopeless = alone > left;
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "the deadline leaves ", absl::FormatDuration(left), ", and the request takes about ",
      absl::FormatDuration(is_hopeless ? alone : expected),
      is_hopeless ? " even if nobody else is served; allow more time, or ask for fewer "
                    "evaluations or images"
                  : " with what was accepted before"));
  SetReason(status, kDeadlineUnreachable);
  if (!is_hopeless) SetRetryAfter(status, expected - left);
  return status;
}

}  // namespace skipstream
