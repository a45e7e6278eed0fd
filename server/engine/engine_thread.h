// Runs the engine on a thread with an inbox (mutex and condition variable, no polling) for jobs,
// cancellations and the executor's completions. The engine itself is single-threaded.
#ifndef SKIPSTREAM_SERVER_ENGINE_ENGINE_THREAD_H_
#define SKIPSTREAM_SERVER_ENGINE_ENGINE_THREAD_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "base/clock.h"
#include "server/engine/engine.h"
#include "server/engine/generation_job.h"

namespace skipstream {

// Passes events to the engine. All public methods are thread-safe.
class EngineThread {
 public:
  // Becomes the listener of `executor`. Everything passed in outlives this object; `options` must
  // be valid (Options::Validate); `metrics` may be null in tests.
  EngineThread(const Engine::Options& options, Executor& executor, const Clock& clock,
               EngineMetrics* metrics);
  // Cancels the remaining jobs (every sink gets OnFinished) and joins, once the executor has
  // reported everything in flight. From then on it calls no sink.
  ~EngineThread();

  // Takes the job; its sink gets all further events.
  JobId Submit(GenerationJob job);

  // Cancels the job: no batch submitted after the engine has seen this contains its rows. Its sink
  // gets OnFinished(CANCELLED) unless it has finished already. Unknown ids are ignored.
  void Cancel(JobId id);

  // Sets the job's deadline. Unknown ids are ignored.
  void ExtendDeadline(JobId id, absl::Time deadline);

  // Blocks until no job is accepted or running, or until `timeout` has passed. Returns true if
  // idle.
  bool WaitIdle(absl::Duration timeout);

  // Returns false after Options::failures_until_unhealthy batches in a row failed, until one
  // succeeds or the retry time has passed. `on_change`, set once before the first job, is called on
  // the engine's thread.
  bool healthy() const;
  void SetHealthCallback(std::function<void(bool)> on_change);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_ENGINE_THREAD_H_
