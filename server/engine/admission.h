// The bounded door in front of the engine: what is accepted is finished, what cannot be taken is
// refused at once.
#ifndef SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_
#define SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace skipstream {

class Admission;

// Holds a share of the bounds until it and all its copies are gone: a job holds one while it runs,
// a call until the last of its results has left.
class AdmissionTicket {
 public:
  AdmissionTicket() = default;

 private:
  friend class Admission;
  explicit AdmissionTicket(std::shared_ptr<const void> share) : share_(std::move(share)) {}

  std::shared_ptr<const void> share_;  // gives itself back
};

// Thread-safe. Outlives its tickets.
class Admission {
 public:
  struct Options {
    // Accepted requests whose results have not all left.
    int64_t max_requests = 1024;
    // Rows that accepted requests cost in total, whether evaluated yet or not.
    int64_t max_evaluations = 200'000;
  };

  // `retry_after(evaluations)` estimates how long it takes until that many evaluations are done; it
  // is called on the refused thread and must be thread-safe.
  Admission(const Options& options, std::function<absl::Duration(int64_t)> retry_after);

  // Takes one request of `evaluations` rows, or refuses:
  //   RESOURCE_EXHAUSTED  reason QUEUE_FULL, with RetryAfter; without RetryAfter and with reason
  //                       REQUEST_TOO_LARGE if the request alone is over the bound
  //   UNAVAILABLE         reason DRAINING once Close() was called
  absl::StatusOr<AdmissionTicket> Admit(int64_t evaluations);

  // OK if Admit would take such a request now, else its refusal. Takes nothing.
  absl::Status Check(int64_t evaluations) const;

  // Refuses everything from now on; what was accepted goes on.
  void Close();

  int64_t outstanding_requests() const;
  int64_t outstanding_evaluations() const;

 private:
  // Why such a request is refused now; OK if it is not. Needs mutex_.
  absl::Status Refusal(int64_t evaluations) const;
  void Release(int64_t evaluations);

  const Options options_;
  const std::function<absl::Duration(int64_t)> retry_after_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  int64_t requests_ = 0;
  int64_t evaluations_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_
