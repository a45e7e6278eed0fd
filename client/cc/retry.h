// Decides whether a failed call is retried, and after which wait.
#ifndef SKIPSTREAM_CLIENT_CC_RETRY_H_
#define SKIPSTREAM_CLIENT_CC_RETRY_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace skipstream::client {

// Configures retries. UNAVAILABLE is retried with exponential back-off, and so is a stream that a
// proxy ended because its server was gone. RESOURCE_EXHAUSTED is retried only when the server says
// when (google.rpc.RetryInfo); nothing else is.
struct RetryPolicy {
  // Attempts in a row that may end with UNAVAILABLE; a delivered image starts the count anew.
  // Refusals by a draining server do not count: behind the same address may be another server that
  // does not drain. 1: no retries.
  int max_attempts = 5;
  // Wait before the first retry; each further one is `multiplier` times longer.
  absl::Duration initial_backoff = absl::Milliseconds(100);
  double multiplier = 2.0;
  absl::Duration max_backoff = absl::Seconds(5);
  // Random share of the wait, 0 to 1: clients that failed together do not return together.
  double jitter = 0.2;
  // Bound of the sum of all waits of a call.
  absl::Duration max_total_wait = absl::Minutes(2);
};

// Holds the retry state of one call. Pure: it reads no clock and draws no random numbers.
class RetrySchedule {
 public:
  explicit RetrySchedule(const RetryPolicy& policy) : policy_(policy) {}

  // Returns the wait before the next attempt after one that ended with `status`; nullopt if the
  // caller should get `status`. `uniform` is a random number in [0, 1).
  std::optional<absl::Duration> NextWait(const absl::Status& status, double uniform);

  // Records that the last attempt made progress.
  void NoteProgress() { unavailable_in_a_row_ = turned_away_in_a_row_ = 0; }

 private:
  RetryPolicy policy_;
  int unavailable_in_a_row_ = 0;
  int turned_away_in_a_row_ = 0;  // refusals by servers that drain
  absl::Duration waited_;
};

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_RETRY_H_
