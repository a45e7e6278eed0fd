#include "server/generation/subscriber.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

// A client's deadline passes before ours, which starts when the call has arrived: its cancellation
// comes a little early.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(100);

constexpr absl::Duration kRetryAfterTooManyReaders = absl::Seconds(1);

absl::Status SlowReaderError(size_t max_bytes) {
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "the reader is too slow: more than ", max_bytes,
      " bytes of finished images were waiting for it; read faster, or ask for fewer or "
      "smaller images"));
  SetReason(status, "SLOW_READER");
  return status;
}

}  // namespace

absl::Status TooManySubscribersError() {
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("request_id: ", kMaxSubscribers,
                   " calls read what this request makes already; try again, or read one of them"));
  SetReason(status, "TOO_MANY_READERS");
  SetRetryAfter(status, kRetryAfterTooManyReaders);
  return status;
}

Subscriber::Subscriber(const Options& options, EventStream& stream, const Clock& clock,
                       TransportMetrics& metrics)
    : options_(options),
      clock_(clock),
      metrics_(metrics),
      arrived_(clock.Now()),
      stream_(&stream) {}

void Subscriber::SetLabels(const std::string& model, const std::string& solver) {
  std::lock_guard lock(mutex_);
  summary_.facts.model = model;
  summary_.facts.solver = solver;
}

void Subscriber::Begin(const GenerationFacts& facts, const AdmissionTicket& ticket, bool timed) {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  summary_.facts = facts;
  ticket_ = ticket;
  timed_ = timed;
  outbox_.emplace(options_.max_outbox_bytes, facts.images, facts.evaluations_per_image);
}

void Subscriber::PushProgress(int image, int evaluations_done) {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  outbox_->PushProgress(image, evaluations_done);
  Pump();
}

bool Subscriber::WantsPreview(int image) {
  std::lock_guard lock(mutex_);
  return !ending_ && outbox_->WantsPreview(image);
}

void Subscriber::PushPreview(const SharedEvent& preview) {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  outbox_->PushPreview(preview);
  Pump();
}

bool Subscriber::Push(const SharedEvent& event) {
  std::lock_guard lock(mutex_);
  if (ending_) return true;
  accepted_ = accepted_ || event->has_accepted();
  const bool fits = outbox_->Push(event);
  if (!fits) FailLocked(SlowReaderError(options_.max_outbox_bytes));
  Pump();
  return fits;
}

void Subscriber::End(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  if (ending_) return;
  ending_ = status;
  Pump();
}

void Subscriber::Fail(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  FailLocked(status);
  Pump();
}

void Subscriber::OnWritten() {
  std::lock_guard lock(mutex_);
  writing_ = nullptr;
  Pump();
}

void Subscriber::OnGone() {
  Fail(clock_.Now() >= options_.deadline - kDeadlineSlack
           ? absl::DeadlineExceededError("the deadline passed before the request was done")
           : absl::CancelledError("cancelled by the client"));
}

void Subscriber::FailLocked(const absl::Status& status) {
  if (failed_ || stream_ == nullptr) return;
  failed_ = true;
  ending_ = status;
  if (outbox_) outbox_->Clear();
}

void Subscriber::Pump() {
  if (writing_ != nullptr || stream_ == nullptr) return;
  if (outbox_) {
    const int64_t dropped = outbox_->previews_dropped();
    metrics_.previews_dropped.Increment(static_cast<double>(dropped - previews_dropped_));
    previews_dropped_ = dropped;
    writing_ = outbox_->Pop();
  }
  if (writing_ == nullptr) {
    if (ending_) Finish();
    return;
  }
  if (timed_ && writing_->has_image() && !std::exchange(first_image_sent_, true)) {
    metrics_.time_to_first_image_seconds.Observe(absl::ToDoubleSeconds(clock_.Now() - arrived_));
  }
  if (writing_->has_completed()) {
    summary_.completed = true;
    summary_.queue_seconds = writing_->completed().queue_seconds();
    summary_.run_seconds = writing_->completed().run_seconds();
  }
  stream_->Write(*writing_);
}

void Subscriber::Finish() {
  const GenerationFacts& facts = summary_.facts;
  summary_.total = clock_.Now() - arrived_;
  metrics_.requests.With({facts.model, facts.solver, StatusCodeName(*ending_)}).Increment();
  if (timed_ && accepted_) {
    metrics_.request_duration_seconds.With({facts.model})
        .Observe(absl::ToDoubleSeconds(summary_.total));
  }
  ticket_ = AdmissionTicket();
  std::exchange(stream_, nullptr)->Finish(*ending_, summary_);
}

}  // namespace skipstream
