#ifndef SKIPSTREAM_SERVER_ENGINE_JOB_ESTIMATE_H_
#define SKIPSTREAM_SERVER_ENGINE_JOB_ESTIMATE_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/completion_estimate.h"
#include "server/engine/generation_job.h"
#include "server/engine/scheduler.h"

namespace skipstream {

// Reason of the refusal of a job because of its deadline.
inline constexpr char kDeadlineUnreachable[] = "DEADLINE_UNREACHABLE";

// Estimates how long a job that comes now will take, and refuses deadlines that it cannot meet.
class JobEstimate {
 public:
  // Describes the device at this moment.
  struct Device {
    int num_slots = 0;
    int batches_in_flight = 0;
    bool has_other_jobs = false;
  };

  // `entry`: the scheduler's, of the job's first sample. Both outlive the estimate.
  JobEstimate(const GenerationJob& job, const Scheduler::Entry& entry, const Device& device)
      : job_(job), entry_(entry), device_(device) {}

  // Returns the time until the last image on an idle device.
  absl::Duration Alone(BatchTimes times) const;
  // Returns that time behind other work.
  absl::Duration Behind(const Scheduler::WorkAhead& ahead) const;

  // Returns RESOURCE_EXHAUSTED, reason kDeadlineUnreachable, if the job cannot be done in the time
  // that is left: `behind` the work with earlier deadlines, unless it is hopeless alone. It has
  // RetryAfter unless it is hopeless.
  absl::Status CheckTimeLeft(absl::Duration left, std::optional<absl::Duration> behind) const;

 private:
  absl::Duration Estimate(absl::Duration before, const std::vector<int>& samples_ahead,
                          BatchTimes times) const;

  const GenerationJob& job_;
  const Scheduler::Entry& entry_;
  const Device device_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_JOB_ESTIMATE_H_
