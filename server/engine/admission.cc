#include "server/engine/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/error_details.h"

namespace skipstream {
namespace {

// A refused client that came back sooner would only be refused again.
constexpr absl::Duration kMinRetryAfter = absl::Milliseconds(100);

}  // namespace

Admission::Admission(const Options& options, std::function<absl::Duration(int64_t)> retry_after)
    : options_(options), retry_after_(std::move(retry_after)) {}

absl::StatusOr<AdmissionTicket> Admission::Admit(int64_t evaluations) {
  std::lock_guard lock(mutex_);
  if (absl::Status refusal = Refusal(evaluations); !refusal.ok()) return refusal;
  ++requests_;
  evaluations_ += evaluations;
  return AdmissionTicket(std::shared_ptr<const void>(
      nullptr, [this, evaluations](const void*) { Release(evaluations); }));
}

absl::Status Admission::Check(int64_t evaluations) const {
  std::lock_guard lock(mutex_);
  return Refusal(evaluations);
}

absl::Status Admission::Refusal(int64_t evaluations) const {
  if (closed_) {
    absl::Status status = absl::UnavailableError("the server is draining");
    SetReason(status, "DRAINING");
    return status;
  }
  if (evaluations > options_.max_evaluations) {
    absl::Status status = absl::ResourceExhaustedError(
        absl::StrCat("the request needs ", evaluations, " evaluations; this server takes at most ",
                     options_.max_evaluations, " at once"));
    SetReason(status, "REQUEST_TOO_LARGE");
    return status;
  }
  // There is room once the excess is done, or, if the number of requests is the bound, once a
  // request of average size is.
  int64_t until_room = evaluations_ + evaluations - options_.max_evaluations;
  const bool has_place = requests_ < options_.max_requests;
  if (until_room <= 0 && has_place) return absl::OkStatus();
  if (!has_place) until_room = std::max(until_room, evaluations_ / requests_);
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "the queue is full: ", requests_, " of ", options_.max_requests, " requests with ",
      evaluations_, " of ", options_.max_evaluations, " evaluations are accepted"));
  SetReason(status, "QUEUE_FULL");
  SetRetryAfter(status, std::max(kMinRetryAfter, retry_after_(until_room)));
  return status;
}

void Admission::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

int64_t Admission::outstanding_requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

int64_t Admission::outstanding_evaluations() const {
  std::lock_guard lock(mutex_);
  return evaluations_;
}

void Admission::Release(int64_t evaluations) {
  std::lock_guard lock(mutex_);
  --requests_;
  evaluations_ -= evaluations;
}

}  // namespace skipstream
