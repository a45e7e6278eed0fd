// The bounded door in front of the engine: what is accepted is finished, what cannot be taken is
// refused at once.
#ifndef SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_
#define SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_

#include <cstdint>
#include <functional>
#include <mutex>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace skipstream {

class Admission;

// Holds its share of the bounds until destroyed. Movable; travels with the job.
class AdmissionTicket {
 public:
  AdmissionTicket() = default;
  AdmissionTicket(AdmissionTicket&& other) noexcept;
  AdmissionTicket& operator=(AdmissionTicket&& other) noexcept;
  ~AdmissionTicket();

 private:
  friend class Admission;
  AdmissionTicket(Admission* admission, int64_t evaluations)
      : admission_(admission), evaluations_(evaluations) {}
  void Release();

  Admission* admission_ = nullptr;
  int64_t evaluations_ = 0;
};

// Thread-safe. Outlives its tickets.
class Admission {
 public:
  struct Options {
    // Accepted requests, waiting and running together.
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

  // Refuses everything from now on; what was accepted goes on.
  void Close();

  int64_t outstanding_requests() const;
  int64_t outstanding_evaluations() const;

 private:
  friend class AdmissionTicket;
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
