// The bounded door in front of the engine: what is accepted is finished, what cannot be taken is
// refused at once.
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

// What a request takes of the bounds.
struct AdmissionRequest {
  std::shared_ptr<const Tenant> tenant;  // not null
  int64_t evaluations = 0;               // rows, whether evaluated yet or not
  int64_t bytes = 0;                     // of memory while it is served, at most
  // How long it takes until so many evaluations are done, for RetryAfter. Thread-safe.
  std::function<absl::Duration(int64_t)> time_of = nullptr;
};

// Thread-safe. Outlives its tickets.
class Admission {
 public:
  struct Options {
    // Accepted requests whose results have not all left; what they cost and hold in total.
    int64_t max_requests = 1024;
    int64_t max_evaluations = 200'000;
    int64_t max_bytes = int64_t{4} << 30;
    // This part of every bound goes only to tenants that hold less than an equal share of it,
    // counted with one tenant more than there are: who floods the server leaves room for others.
    // 0 to 1.
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

  // OK if Admit would take the request now, else its refusal. Takes nothing.
  absl::Status Check(const AdmissionRequest& request) const;

  // Refuses everything from now on; what was accepted goes on.
  void Close();

  int64_t outstanding_requests() const;
  int64_t outstanding_evaluations() const;
  int64_t outstanding_bytes() const;

 private:
  // What somebody has accepted, or may have.
  struct Amounts {
    int64_t requests = 0;
    int64_t evaluations = 0;
    int64_t bytes = 0;

    Amounts& operator+=(const Amounts& other);
    Amounts& operator-=(const Amounts& other);
  };
  struct Bound;

  // Why such a request is refused now; OK if it is not. Needs mutex_.
  absl::Status Refusal(const AdmissionRequest& request) const;
  // Needs mutex_.
  std::array<Bound, 3> BoundsFor(const AdmissionRequest& request) const;
  void Release(const std::string& tenant, const Amounts& amounts);

  const Options options_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  Amounts total_;
  std::map<std::string, Amounts> tenants_;  // those that hold something, by name
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_ADMISSION_H_
