#include "server/engine/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

// A refused client that came back sooner would only be refused again.
constexpr absl::Duration kMinRetryAfter = absl::Milliseconds(100);

absl::Status Refused(absl::string_view reason, const std::string& message) {
  absl::Status status = absl::ResourceExhaustedError(message);
  SetReason(status, reason);
  return status;
}

}  // namespace

// One of the bounds, as it looks to one request.
struct Admission::Bound {
  absl::string_view what;  // "requests"
  int64_t wanted = 0;
  int64_t held = 0;  // by all tenants
  int64_t tenant_held = 0;
  int64_t limit = 0;
  int64_t tenant_limit = 0;
  int64_t open_limit = 0;   // up to which anybody is let in
  int64_t equal_share = 0;  // up to which a tenant is let in beyond that

  bool FitsServer(int64_t all, int64_t own) const {
    return all + wanted <= open_limit || (all + wanted <= limit && own + wanted <= equal_share);
  }
  bool FitsServer() const { return FitsServer(held, tenant_held); }
  bool FitsTenant() const { return tenant_held + wanted <= tenant_limit; }
  bool EverFits() const { return FitsServer(0, 0) && wanted <= tenant_limit; }
  // Returns the amount that others have to release before the request fits.
  int64_t Excess() const {
    const int64_t of_server =
        std::min(held + wanted - open_limit,
                 std::max(held + wanted - limit, tenant_held + wanted - equal_share));
    return std::max(
        {int64_t{0}, FitsServer() ? 0 : of_server, tenant_held + wanted - tenant_limit});
  }
};

Admission::Amounts& Admission::Amounts::operator+=(const Amounts& other) {
  requests += other.requests;
  evaluations += other.evaluations;
  bytes += other.bytes;
  return *this;
}

Admission::Amounts& Admission::Amounts::operator-=(const Amounts& other) {
  return *this += {-other.requests, -other.evaluations, -other.bytes};
}

absl::StatusOr<AdmissionTicket> Admission::Admit(const AdmissionRequest& request) {
  const Amounts amounts = {1, request.evaluations, request.bytes};
  std::lock_guard lock(mutex_);
  if (absl::Status refusal = Refusal(request); !refusal.ok()) return refusal;
  total_ += amounts;
  tenants_[request.tenant->name] += amounts;
  return AdmissionTicket(std::shared_ptr<const void>(
      nullptr,
      [this, tenant = request.tenant->name, amounts](const void*) { Release(tenant, amounts); }));
}

absl::Status Admission::Check(const AdmissionRequest& request) const {
  std::lock_guard lock(mutex_);
  return Refusal(request);
}

std::array<Admission::Bound, 3> Admission::BoundsFor(const AdmissionRequest& request) const {
  const Tenant& tenant = *request.tenant;
  const auto found = tenants_.find(tenant.name);
  const Amounts own = found == tenants_.end() ? Amounts() : found->second;
  // With one that may come.
  const auto sharers = static_cast<int64_t>(tenants_.size()) + (own.requests > 0 ? 1 : 2);
  const auto bound = [&](absl::string_view what, int64_t wanted, int64_t Amounts::* amount,
                         int64_t limit, int64_t tenant_limit) {
    const auto reserved =
        static_cast<int64_t>(static_cast<double>(limit) * options_.reserved_for_others);
    return Bound{.what = what,
                 .wanted = wanted,
                 .held = total_.*amount,
                 .tenant_held = own.*amount,
                 .limit = limit,
                 .tenant_limit = tenant_limit,
                 .open_limit = limit - reserved,
                 .equal_share = limit / sharers};
  };
  return {bound("requests", 1, &Amounts::requests, options_.max_requests, tenant.max_requests),
          bound("evaluations", request.evaluations, &Amounts::evaluations, options_.max_evaluations,
                tenant.max_evaluations),
          bound("bytes", request.bytes, &Amounts::bytes, options_.max_bytes, tenant.max_bytes)};
}

absl::Status Admission::Refusal(const AdmissionRequest& request) const {
  if (closed_) {
    absl::Status status = absl::UnavailableError("the server is draining");
    SetReason(status, "DRAINING");
    return status;
  }
  const std::array<Bound, 3> bounds = BoundsFor(request);
  for (const Bound& bound : bounds) {
    if (bound.EverFits()) continue;
    return Refused(
        "REQUEST_TOO_LARGE",
        absl::StrCat("the request needs ", bound.wanted, " ", bound.what,
                     "; this server takes at most ",
                     std::min(std::max(bound.open_limit, bound.equal_share), bound.tenant_limit),
                     " at once"));
  }
  // Everything given back takes evaluations to finish, of the average size there is.
  int64_t until_room = 0;
  const Bound* first = nullptr;
  bool is_quota = true;
  for (const Bound& bound : bounds) {
    if (bound.FitsServer() && bound.FitsTenant()) continue;
    if (first == nullptr || is_quota) first = &bound;
    is_quota = is_quota && bound.FitsServer();
    const double part = static_cast<double>(bound.Excess()) / static_cast<double>(bound.held);
    until_room =
        std::max(until_room, static_cast<int64_t>(part * static_cast<double>(total_.evaluations)));
  }
  if (first == nullptr) return absl::OkStatus();
  absl::Status status =
      is_quota ? Refused("TENANT_QUOTA",
                         absl::StrCat("tenant '", request.tenant->name, "' has ",
                                      first->tenant_held, " of ", first->tenant_limit, " ",
                                      first->what, " accepted and wants ", first->wanted, " more"))
               : Refused("QUEUE_FULL",
                         absl::StrCat("the queue is full: ", first->held, " of ", first->limit, " ",
                                      first->what, " are accepted, and the request needs ",
                                      first->wanted));
  const absl::Duration delay = request.time_of ? request.time_of(until_room) : absl::ZeroDuration();
  SetRetryAfter(status, std::max(kMinRetryAfter, delay));
  return status;
}

void Admission::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

int64_t Admission::outstanding_requests() const {
  std::lock_guard lock(mutex_);
  return total_.requests;
}

int64_t Admission::outstanding_evaluations() const {
  std::lock_guard lock(mutex_);
  return total_.evaluations;
}

int64_t Admission::outstanding_bytes() const {
  std::lock_guard lock(mutex_);
  return total_.bytes;
}

void Admission::Release(const std::string& tenant, const Amounts& amounts) {
  std::lock_guard lock(mutex_);
  total_ -= amounts;
  const auto held = tenants_.find(tenant);
  held->second -= amounts;
  if (held->second.requests == 0) tenants_.erase(held);
}

}  // namespace skipstream
