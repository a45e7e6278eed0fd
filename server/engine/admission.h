// Admits requests to the engine within bounds: an accepted request is finished, a request beyond
// the bounds is refused at once.
#ifndef SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_
#define SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/engine/tenant.h"

namespace skipstream {

class Admission;

// Holds a share of the bounds until it and all its copies are gone. A job holds one while it runs,
// a call until the last of its results has left.
class AdmissionTicket {
 public:
  AdmissionTicket() = default;

 private:
  friend class Admission;
  explicit AdmissionTicket(std::shared_ptr<const void> share) : share_(std::move(share)) {}

  std::shared_ptr<const void> share_;  // its deleter releases the share
};

// Holds the amounts that a request takes of the bounds.
struct AdmissionRequest {
  std::shared_ptr<const Tenant> tenant;  // not null
  int64_t evaluations = 0;               // rows, whether evaluated yet or not
  int64_t bytes = 0;                     // upper bound of the memory while it is served
  // Returns the time until this number of evaluations is done, for RetryAfter. Thread-safe.
  std::function<absl::Duration(int64_t)> time_of = nullptr;
};

// Takes or refuses requests. Thread-safe. Outlives its tickets.
class Admission {
 public:
  struct Options {
    // Bounds on accepted requests whose results have not all left: their number, and the rows and
    // bytes that they take in total.
    int64_t max_requests = 1024;
    int64_t max_evaluations = 200'000;
    int64_t max_bytes = int64_t{4} << 30;
    // This part of every bound goes only to tenants that hold less than an equal share of it,
    // counted with one tenant more than there are. A tenant that floods the server thus leaves room
    // for others. 0 to 1.
    double reserved_for_others = 0.0;
  };

  explicit Admission(const Options& options) : options_(options) {}

  // Takes the request, or refuses:
  //   RESOURCE_EXHAUSTED  reason QUEUE_FULL, with RetryAfter; TENANT_QUOTA, with RetryAfter, if
  //   only
  //                       its tenant's own bounds are in the way; REQUEST_TOO_LARGE, without, if it
  //                       is over a bound by itself
  //   UNAVAILABLE         reason DRAINING once Close() was called
  absl::StatusOr<AdmissionTicket> Admit(const AdmissionRequest& request);

  // Returns OK if Admit would take the request now, else its refusal. Takes nothing.
  absl::Status Check(const AdmissionRequest& request) const;

  // Refuses every request from now on; accepted ones go on.
  void Close();

  int64_t outstanding_requests() const;
  int64_t outstanding_evaluations() const;
  int64_t outstanding_bytes() const;

 private:
  // Holds the amounts that accepted requests take, or their limits.
  struct Amounts {
    int64_t requests = 0;
    int64_t evaluations = 0;
    int64_t bytes = 0;

    Amounts& operator+=(const Amounts& other);
    Amounts& operator-=(const Amounts& other);
  };
  struct Bound;

  // Returns the refusal of such a request now; OK if there is none. Needs mutex_.
  absl::Status Refusal(const AdmissionRequest& request) const;
  // Returns the bounds that apply to a request. Needs mutex_.
  std::array<Bound, 3> BoundsFor(const AdmissionRequest& request) const;
  void Release(const std::string& tenant, const Amounts& amounts);

  const Options options_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  Amounts total_;
  std::map<std::string, Amounts> tenants_;  // tenants that hold something, by name
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_
