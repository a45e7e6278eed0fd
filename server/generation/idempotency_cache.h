// Finds generations and kept results by the ids of their requests.
#ifndef SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_CACHE_H_
#define SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_CACHE_H_

#include <atomic>
#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "prometheus/gauge.h"
#include "server/generation/event_outbox.h"
#include "server/generation/idempotency_key.h"
#include "server/generation/subscriber.h"

namespace skipstream {

class Generation;

// Holds the events that a generation ended with OK has published, progress and previews left out.
struct FinishedGeneration {
  GenerationFacts facts;
  std::vector<SharedEvent> events;  // accepted, images, completed
};

// Maps request ids to running generations and kept results. Thread-safe. Calls no other object and
// takes no other lock, so it may be called under any.
//
// Results leave when their time is up, which is noticed at the next call. Before that the oldest
// leave first, when a new one needs the room. A result that is still being read counts until its
// last subscriber has released it; one that does not fit beside those is not kept.
class IdempotencyCache {
 public:
  struct Options {
    // Bound of all kept results; 0: none is kept.
    size_t max_bytes = size_t{64} << 20;
    size_t max_results = 4096;
    // Time that a result is kept after it was finished. 0: none is kept.
    absl::Duration keep = absl::Seconds(120);
  };

  // `clock` and `bytes` (the gauge of kept results) outlive the cache and every result.
  IdempotencyCache(const Options& options, const Clock& clock, prometheus::Gauge& bytes);
  ~IdempotencyCache();

  // Holds the result of FindOrAdd(). At most one of the two is set. Neither: `fresh` has the id
  // now.
  struct Found {
    std::shared_ptr<Generation> running;
    std::shared_ptr<const FinishedGeneration> finished;
  };
  // Finds the generation or result of an earlier call with this key, or takes the id for `fresh`.
  // ALREADY_EXISTS (reason REQUEST_ID_REUSED) if the id belongs to another request of the tenant;
  // TooManySubscribersError if kMaxSubscribers calls hold its results.
  absl::StatusOr<Found> FindOrAdd(const IdempotencyKey& key,
                                  const std::shared_ptr<Generation>& fresh);

  // Removes the id if it belongs to `generation`; else does nothing.
  void Forget(const IdempotencyKey& key, const Generation* generation);

  // Does the same as Forget(), and from now on answers the id with `finished`, if there is room for
  // it.
  void Finish(const IdempotencyKey& key, const Generation* generation, FinishedGeneration finished);

 private:
  using Id = std::pair<std::string, std::string>;  // tenant and request id
  struct Running {
    std::string hash;
    std::weak_ptr<Generation> generation;
  };
  struct Kept {
    Id id;
    std::string hash;
    std::shared_ptr<const FinishedGeneration> finished;
    size_t bytes = 0;
    absl::Time until;
  };
  // Counts the bytes of results that the cache or a subscriber holds.
  struct Held {
    std::atomic<size_t> bytes = 0;
    prometheus::Gauge& gauge;
  };
  using Garbage = std::vector<std::shared_ptr<const FinishedGeneration>>;

  static Id IdOf(const IdempotencyKey& key) { return {key.tenant, key.request_id}; }

  // Methods below need mutex_. The owner of `garbage` frees the dropped results without it.
  void DropExpired(Garbage& garbage);
  void DropOldest(Garbage& garbage);
  void Remove(const Id& id, const Generation* generation);

  const Options options_;
  const Clock& clock_;
  const std::shared_ptr<Held> held_;

  std::mutex mutex_;
  std::map<Id, Running> running_;
  std::list<Kept> kept_;  // oldest first
  std::map<Id, std::list<Kept>::iterator> kept_by_id_;
  size_t kept_bytes_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_IDEMPOTENCY_CACHE_H_
