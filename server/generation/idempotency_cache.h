// What is known by the ids of requests: generations that run, and results that are kept for a
// while.
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

// What a generation that ended with OK told its readers, progress and previews left out.
struct FinishedGeneration {
  GenerationFacts facts;
  std::vector<SharedEvent> events;  // accepted, images, completed
};

// Thread-safe. Calls nobody back and takes no other lock, so it may be called under any.
//
// Results leave when their time is up, which is noticed at the next call, and before that the
// oldest first, when a new one needs the room. A result that is still being read counts until the
// last reader has let it go; one that does not fit beside those is not kept.
class IdempotencyCache {
 public:
  struct Options {
    // Of all kept results; 0: none is kept.
    size_t max_bytes = size_t{64} << 20;
    size_t max_results = 4096;
    // How long a result is kept after it was finished. 0: none is kept.
    absl::Duration keep = absl::Seconds(120);
  };

  // `clock` and `bytes` (of kept results) outlive the table and every result.
  IdempotencyCache(const Options& options, const Clock& clock, prometheus::Gauge& bytes);
  ~IdempotencyCache();

  // At most one of the two is set. Neither: the id is now `fresh`'s.
  struct Found {
    std::shared_ptr<Generation> running;
    std::shared_ptr<const FinishedGeneration> finished;
  };
  // Finds what an earlier call with this key started, or takes the id for `fresh`. ALREADY_EXISTS
  // (reason REQUEST_ID_REUSED) if the id belongs to another request of the tenant;
  // TooManySubscribersError if as many calls hold its results.
  absl::StatusOr<Found> FindOrAdd(const IdempotencyKey& key,
                                  const std::shared_ptr<Generation>& fresh);

  // `generation` is no longer to be found. Nothing happens if the id is not (or no longer) its own.
  void Forget(const IdempotencyKey& key, const Generation* generation);

  // As Forget, and from now on the id is answered with `finished`, if there is room for it.
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
  // Bytes of results that somebody holds, the table or a reader.
  struct Held {
    std::atomic<size_t> bytes = 0;
    prometheus::Gauge& gauge;
  };
  using Garbage = std::vector<std::shared_ptr<const FinishedGeneration>>;

  static Id IdOf(const IdempotencyKey& key) { return {key.tenant, key.request_id}; }

  // The ones below need mutex_. What they drop is freed by whoever owns `garbage`, without it.
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
