#include "server/generation/idempotency_cache.h"

#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_details.h"
#include "server/request/violations.h"

namespace skipstream {
namespace {

// Bytes of an entry and of an event, beside the bytes of the messages.
constexpr size_t kEntryBytes = 512;
constexpr size_t kEventBytes = 128;

size_t BytesOf(const FinishedGeneration& finished) {
  size_t bytes = kEntryBytes;
  for (const SharedEvent& event : finished.events) bytes += kEventBytes + event->ByteSizeLong();
  return bytes;
}

absl::Status ReusedError(const IdempotencyKey& key) {
  absl::Status status = absl::AlreadyExistsError(
      absl::StrCat("request_id: ", Quoted(key.request_id),
                   " names another request, sent shortly before; a new request needs a new id"));
  SetReason(status, "REQUEST_ID_REUSED");
  return status;
}

}  // namespace

IdempotencyCache::IdempotencyCache(const Options& options, const Clock& clock,
                                   prometheus::Gauge& bytes)
    : options_(options), clock_(clock), held_(new Held{.gauge = bytes}) {}

IdempotencyCache::~IdempotencyCache() = default;

absl::StatusOr<IdempotencyCache::Found> IdempotencyCache::FindOrAdd(
    const IdempotencyKey& key, const std::shared_ptr<Generation>& fresh) {
  Garbage garbage;
  Found found;
  std::lock_guard lock(mutex_);
  DropExpired(garbage);
  const Id id = IdOf(key);
  if (const auto it = kept_by_id_.find(id); it != kept_by_id_.end()) {
    if (it->second->hash != key.request_hash) return ReusedError(key);
    const int64_t readers = it->second->finished.use_count() - 1;  // the table holds it too
    if (readers >= kMaxSubscribers) return TooManySubscribersError();
    found.finished = it->second->finished;
    return found;
  }
  Running& running = running_[id];
  found.running = running.generation.lock();
  if (found.running == nullptr) {
    running = {.hash = key.request_hash, .generation = fresh};
  } else if (running.hash != key.request_hash) {
    return ReusedError(key);
  }
  return found;
}

void IdempotencyCache::Forget(const IdempotencyKey& key, const Generation* generation) {
  std::lock_guard lock(mutex_);
  Remove(IdOf(key), generation);
}

void IdempotencyCache::Finish(const IdempotencyKey& key, const Generation* generation,
                              FinishedGeneration finished) {
  const size_t bytes = BytesOf(finished);
  Garbage garbage;
  std::lock_guard lock(mutex_);
  Id id = IdOf(key);
  Remove(id, generation);
  DropExpired(garbage);
  if (options_.keep <= absl::ZeroDuration() || bytes > options_.max_bytes) return;
  if (kept_by_id_.contains(id)) return;  // a second run of the same request was faster
  while (!kept_.empty() &&
         (kept_.size() >= options_.max_results || kept_bytes_ + bytes > options_.max_bytes)) {
    DropOldest(garbage);
  }
  garbage.clear();
  if (held_->bytes + bytes > options_.max_bytes) return;

  held_->bytes += bytes;
  held_->gauge.Increment(static_cast<double>(bytes));
  std::shared_ptr<const FinishedGeneration> shared(
      new FinishedGeneration(std::move(finished)),
      [held = held_, bytes](const FinishedGeneration* dropped) {
        delete dropped;
        held->bytes -= bytes;
        held->gauge.Decrement(static_cast<double>(bytes));
      });
  kept_.push_back({.id = id,
                   .hash = key.request_hash,
                   .finished = std::move(shared),
                   .bytes = bytes,
                   .until = clock_.Now() + options_.keep});
  kept_by_id_[std::move(id)] = std::prev(kept_.end());
  kept_bytes_ += bytes;
}

void IdempotencyCache::DropExpired(Garbage& garbage) {
  const absl::Time now = clock_.Now();
  while (!kept_.empty() && kept_.front().until <= now) DropOldest(garbage);
}

void IdempotencyCache::DropOldest(Garbage& garbage) {
  Kept& oldest = kept_.front();
  garbage.push_back(std::move(oldest.finished));
  kept_bytes_ -= oldest.bytes;
  kept_by_id_.erase(oldest.id);
  kept_.pop_front();
}

void IdempotencyCache::Remove(const Id& id, const Generation* generation) {
  const auto it = running_.find(id);
  if (it == running_.end()) return;
  const std::shared_ptr<Generation> known = it->second.generation.lock();
  if (known == nullptr || known.get() == generation) running_.erase(it);
}

}  // namespace skipstream
