#include "client/cc/retry.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "client/cc/rpc_status.h"

namespace skipstream::client {
namespace {

// Returns true for the statuses that gRPC gives a stream that ended without a status, as proxies
// end it, or that the other side cancelled. A server that shuts down cancels calls that have just
// arrived.
bool IsBrokenStream(const absl::Status& status) {
  if (!GetErrorReason(status).empty()) return false;
  if (absl::IsCancelled(status)) {
    return status.message() == "CANCELLED" || absl::StrContains(status.message(), "RST_STREAM");
  }
  if (!absl::IsInternal(status) && !absl::IsUnknown(status)) return false;
  return absl::StrContains(status.message(), "RST_STREAM") ||
         absl::StrContains(status.message(), "END_STREAM") ||
         absl::StrContains(status.message(), "Stream removed");
}

}  // namespace

std::optional<absl::Duration> RetrySchedule::NextWait(const absl::Status& status, double uniform) {
  const std::optional<absl::Duration> asked_for = GetRetryDelay(status);
  absl::Duration wait;
  if (absl::IsUnavailable(status) || IsBrokenStream(status)) {
    const bool draining = GetErrorReason(status) == "DRAINING";
    const int in_a_row = ++(draining ? turned_away_in_a_row_ : unavailable_in_a_row_);
    if (policy_.max_attempts <= 1 || (!draining && in_a_row >= policy_.max_attempts)) {
      return std::nullopt;
    }
    wait = std::min(policy_.max_backoff,
                    policy_.initial_backoff * std::pow(policy_.multiplier, in_a_row - 1));
    if (asked_for) wait = std::max(wait, *asked_for);
  } else if (absl::IsResourceExhausted(status) && asked_for) {
    if (policy_.max_attempts <= 1) return std::nullopt;
    wait = std::max(*asked_for, policy_.initial_backoff);
  } else {
    return std::nullopt;
  }
  // Jitter only lengthens: a server that names a delay means at least that long.
  wait += wait * (policy_.jitter * uniform);
  if (waited_ + wait > policy_.max_total_wait) return std::nullopt;
  waited_ += wait;
  return wait;
}

}  // namespace skipstream::client
