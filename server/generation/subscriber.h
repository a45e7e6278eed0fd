// One Generate RPC as the reader of a generation.
#ifndef SKIPSTREAM_SERVER_GENERATION_SUBSCRIBER_H_
#define SKIPSTREAM_SERVER_GENERATION_SUBSCRIBER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "server/engine/admission.h"
#include "server/generation/event_outbox.h"
#include "server/metrics/metrics.h"

namespace skipstream {

// Of one generation at a time, while it runs and when its results are kept: each costs the engine's
// thread and the memory of a message.
inline constexpr int kMaxSubscribers = 8;

// RESOURCE_EXHAUSTED (reason TOO_MANY_READERS), with RetryAfter: there are kMaxSubscribers.
absl::Status TooManySubscribersError();

// What its readers know of a generation.
struct GenerationFacts {
  std::string model;   // label of metrics
  std::string solver;  // label of metrics
  int images = 0;      // 0 until it is admitted
  int evaluations_per_image = 0;
  int64_t evaluations = 0;  // of all images, in rows
};

// What a call was, when it has ended.
struct CallSummary {
  GenerationFacts facts;
  bool completed = false;  // everything was read; then:
  double queue_seconds = 0.0;
  double run_seconds = 0.0;
  absl::Duration total;  // since it arrived
};

// What carries events to a client: gRPC's stream. Neither method reacts on the calling thread. One
// operation at a time; `event` stays as it is until Subscriber::OnWritten says it has left.
class EventStream {
 public:
  virtual ~EventStream() = default;
  virtual void Write(const v1::GenerateEvent& event) = 0;
  // Once, last.
  virtual void Finish(const absl::Status& status, const CallSummary& summary) = 0;
};

// Thread-safe; its mutex is the last to be taken. What it is told goes through its own outbox, so a
// reader that does not keep up loses progress, then previews, then the call, and nobody else does.
// Told nothing more after End or Fail; what comes nevertheless is ignored.
class Subscriber {
 public:
  struct Options {
    size_t max_outbox_bytes = 0;
    absl::Time deadline = absl::InfiniteFuture();
  };

  // Everything passed in outlives the reader, `stream` until it was told to finish.
  Subscriber(const Options& options, EventStream& stream, const Clock& clock,
             TransportMetrics& metrics);

  absl::Time deadline() const { return options_.deadline; }

  // --- From whoever makes the events ---

  // The labels of a call that fails before Begin.
  void SetLabels(const std::string& model, const std::string& solver);
  // Before any event. `ticket` is held until everything was read, not just made: it bounds what
  // waits for readers. Calls that make a generation run (and not those that join it later) are
  // `timed`: their durations are observed, if they are accepted.
  void Begin(const GenerationFacts& facts, const AdmissionTicket& ticket, bool timed);
  void PushProgress(int image, int evaluations_done);
  bool WantsPreview(int image);
  void PushPreview(const SharedEvent& preview);
  // False: the reader was too slow and has failed now.
  [[nodiscard]] bool Push(const SharedEvent& event);

  // Ends the call once what is waiting has been read.
  void End(const absl::Status& status);
  // Ends the call now.
  void Fail(const absl::Status& status);

  // --- From the stream ---

  void OnWritten();
  // The client is gone: cancelled, disconnected, or its deadline has passed.
  void OnGone();

 private:
  // The ones below need mutex_.
  void FailLocked(const absl::Status& status);
  void Pump();  // gives the stream its next operation
  void Finish();

  const Options options_;
  const Clock& clock_;
  TransportMetrics& metrics_;
  const absl::Time arrived_;

  std::mutex mutex_;
  EventStream* stream_;  // null once it was told to finish
  CallSummary summary_;
  AdmissionTicket ticket_;
  bool timed_ = false;
  bool accepted_ = false;
  std::optional<EventOutbox> outbox_;   // from Begin
  SharedEvent writing_;                 // what the stream is busy with; null: nothing
  std::optional<absl::Status> ending_;  // how the call ends when the outbox is empty
  bool failed_ = false;                 // `ending_` says why
  int64_t previews_dropped_ = 0;        // already counted
  bool first_image_sent_ = false;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_SUBSCRIBER_H_
