// Subscribes one Generate RPC to a generation.
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

// Bounds the subscribers of one generation at a time, while it runs and when its results are kept.
// Each costs time of the engine's thread and the memory of a message.
inline constexpr int kMaxSubscribers = 8;

// Returns RESOURCE_EXHAUSTED (reason TOO_MANY_READERS), with RetryAfter: there are kMaxSubscribers.
absl::Status TooManySubscribersError();

// Holds the facts about a generation that its subscribers report.
struct GenerationFacts {
  std::string model;   // label of metrics
  std::string solver;  // label of metrics
  int images = 0;      // 0 until it is admitted
  int evaluations_per_image = 0;
  int64_t evaluations = 0;  // of all images, in rows
};

// Summarizes a call that has ended.
struct CallSummary {
  GenerationFacts facts;
  bool completed = false;  // all events were read; then:
  double queue_seconds = 0.0;
  double run_seconds = 0.0;
  absl::Duration total;  // since it arrived
};

// Carries events to a client: gRPC's stream. Neither method reacts on the calling thread. One
// operation at a time; `event` stays unchanged until Subscriber::OnWritten reports that it has
// left.
class EventStream {
 public:
  virtual ~EventStream() = default;
  virtual void Write(const v1::GenerateEvent& event) = 0;
  // Ends the stream; called once, last.
  virtual void Finish(const absl::Status& status, const CallSummary& summary) = 0;
};

// Queues the events of one call in a separate outbox. So a client that does not keep up loses
// progress, then previews, then the call, and no other call does. Thread-safe; its mutex is the
// last to be taken. Events after End or Fail are ignored.
class Subscriber {
 public:
  struct Options {
    size_t max_outbox_bytes = 0;
    absl::Time deadline = absl::InfiniteFuture();
  };

  // Everything passed in outlives the subscriber, `stream` until Finish() is called on it.
  Subscriber(const Options& options, EventStream& stream, const Clock& clock,
             TransportMetrics& metrics);

  absl::Time deadline() const { return options_.deadline; }

  // --- Called by the source of the events ---

  // Sets the labels of a call that fails before Begin.
  void SetLabels(const std::string& model, const std::string& solver);
  // Comes before any event. `ticket` is held until all events were read, not just made: it bounds
  // the waiting results. Calls that make a generation run (and not those that join it later) are
  // `timed`: their durations are observed, if they are accepted.
  void Begin(const GenerationFacts& facts, const AdmissionTicket& ticket, bool timed);
  void PushProgress(int image, int evaluations_done);
  bool WantsPreview(int image);
  void PushPreview(const SharedEvent& preview);
  // Returns false if the subscriber was too slow and has failed now.
  [[nodiscard]] bool Push(const SharedEvent& event);

  // Ends the call once the waiting events have been read.
  void End(const absl::Status& status);
  // Ends the call now.
  void Fail(const absl::Status& status);

  // --- Called by the stream ---

  void OnWritten();
  // Reports that the client is gone: cancelled, disconnected, or its deadline has passed.
  void OnGone();

 private:
  // --- Methods that need mutex_ ---
  void FailLocked(const absl::Status& status);
  void Pump();  // gives the stream its next operation
  void Finish();

  const Options options_;
  const Clock& clock_;
  TransportMetrics& metrics_;
  const absl::Time arrived_;

  std::mutex mutex_;
  EventStream* stream_;  // null once Finish() was called on it
  CallSummary summary_;
  AdmissionTicket ticket_;
  bool timed_ = false;
  bool accepted_ = false;
  std::optional<EventOutbox> outbox_;   // set by Begin
  SharedEvent writing_;                 // event that the stream is writing; null: none
  std::optional<absl::Status> ending_;  // status of the call when the outbox is empty
  bool failed_ = false;                 // `ending_` holds the reason
  int64_t previews_dropped_ = 0;        // already counted
  bool first_image_sent_ = false;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_SUBSCRIBER_H_
