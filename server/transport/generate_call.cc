#include "server/transport/generate_call.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/engine/error_details.h"
#include "server/engine/generation_job.h"
#include "server/transport/event_outbox.h"
#include "server/transport/generate_events.h"
#include "server/transport/grpc_status.h"
#include "server/transport/image_encoder.h"
#include "server/transport/wire_limits.h"

namespace skipstream {
namespace {

using Stream = grpc::ServerWriteReactor<grpc::ByteBuffer>;

// A client's deadline passes before ours, which starts when the call has arrived: its cancellation
// comes a little early.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(100);

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

absl::Status SlowReaderError(size_t max_bytes) {
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "the reader is too slow: more than ", max_bytes,
      " bytes of finished images were waiting for it; read faster, or ask for fewer or "
      "smaller images"));
  SetReason(status, "SLOW_READER");
  return status;
}

absl::Status ExceptionError(const std::exception& exception) {
  return absl::InternalError(absl::StrCat("unexpected error: ", exception.what()));
}

// Everything about a call but gRPC's reactor, which it may outlive: the engine and the encoders
// hold references. One mutex guards it; gRPC's operations never react on the thread that starts
// them, so they may be started under it.
class GenerateCall final : public OutputSink, public std::enable_shared_from_this<GenerateCall> {
 public:
  GenerateCall(std::shared_ptr<const GenerateEnvironment> environment, CallIdentity identity,
               Stream* stream, absl::Time deadline)
      : env_(std::move(environment)),
        identity_(std::move(identity)),
        arrived_(env_->clock.Now()),
        deadline_(deadline),
        stream_(stream) {}

  void Start(const v1::GenerateRequest& request);

  // From the reactor.
  void OnWriteDone(bool ok);
  void OnCancelled();
  void OnDone();

  // From the engine.
  void OnAccepted(const AcceptedInfo& info) override;
  void OnProgress(int sample, int evaluations_done, int evaluations_total) override;
  void OnPreview(int sample, int evaluations_done, Pixels pixels) override;
  void OnImage(int sample, Pixels pixels, const SampleTimings& timings) override;
  void OnSampleFailed(int sample, const absl::Status& status) override;
  void OnFinished(const absl::Status& status) override;

 private:
  absl::Status Submit(const v1::GenerateRequest& request);
  absl::Status ReaderGoneError() const;

  // On the pool. Catches what encoding throws.
  void EncodePreview(int sample, int evaluations_done, const Pixels& pixels);
  void EncodeImage(int sample, const Pixels& pixels, const SampleTimings& timings);
  absl::StatusOr<EncodedPicture> Encode(const Pixels& pixels, const std::vector<PngText>& texts);

  v1::Completed CompletedEvent() const;
  bool Stopped() {
    std::lock_guard lock(mutex_);
    return stopped_;
  }
  // Ends the call now with an error: forgets what is waiting and takes the job off the engine.
  void Stop(const absl::Status& status);

  // The ones below need mutex_.
  void PushOrStop(v1::GenerateEvent event);
  void StopLocked(const absl::Status& status);
  // Ends the call once the engine is done and everything is encoded.
  void CompleteIfDone();
  // Gives the stream its next operation.
  void Pump();
  void FinishStream();
  void LogEnd() const;

  const std::shared_ptr<const GenerateEnvironment> env_;
  const CallIdentity identity_;
  const absl::Time arrived_;
  const absl::Time deadline_;

  // Set by Submit before anybody else knows of this call, constant from then on.
  std::optional<ResolvedGeneration> resolved_;
  absl::Time accepted_at_;
  std::string model_label_;   // of metrics; empty if no known model was named
  std::string solver_label_;  // empty if the request was not valid
  bool entered_ = false;      // counted in env_->calls

  std::mutex mutex_;
  Stream* stream_;  // null once it was told to finish
  // Held until everything was read, not just computed: it bounds what waits for encoders and
  // readers.
  AdmissionTicket ticket_;
  std::optional<EventOutbox> outbox_;
  grpc::ByteBuffer writing_;  // what the stream is busy with
  bool is_writing_ = false;
  // How the call ends when the outbox is empty; nothing while it goes on.
  std::optional<absl::Status> ending_;
  bool stopped_ = false;  // what the engine and the encoders still say is of no interest
  std::optional<absl::Status> engine_status_;  // from OnFinished
  int images_encoding_ = 0;
  absl::Duration encode_time_;
  absl::Duration first_start_ = absl::InfiniteDuration();  // after acceptance
  absl::Duration last_ready_;
  int64_t previews_dropped_ = 0;  // already counted
  bool first_image_sent_ = false;
  std::optional<JobId> job_;
  bool cancel_wanted_ = false;  // stopped before the job's id was known
};

void GenerateCall::Start(const v1::GenerateRequest& request) {
  absl::Status status;
  try {
    status = Submit(request);
  } catch (const std::exception& exception) {
    status = ExceptionError(exception);
  }
  if (!status.ok()) Stop(status);
}

absl::Status GenerateCall::Submit(const v1::GenerateRequest& request) {
  // Decoding pictures costs something: not for a request that is refused anyway.
  if (request.has_input_image()) {
    absl::Status refusal = env_->admission.Check(/*evaluations=*/1);
    if (!refusal.ok()) {
      env_->metrics.rejected.With({GetReason(refusal)}).Increment();
      return refusal;
    }
  }
  absl::StatusOr<ResolvedGeneration> resolved =
      ResolveRequest(request, env_->models, env_->limits, env_->draw_seed);
  if (!resolved.ok()) {
    if (const auto model = env_->models.Find(request.model()); model.ok()) {
      model_label_ = (*model)->name();
    }
    return resolved.status();
  }
  model_label_ = resolved->model->name();
  solver_label_ = SolverName(resolved->solver);
  // Counted before it is admitted: a drain must not overlook it in between.
  env_->calls.Enter();
  entered_ = true;
  absl::StatusOr<AdmissionTicket> ticket = env_->admission.Admit(resolved->rows());
  if (!ticket.ok()) {
    env_->metrics.rejected.With({GetReason(ticket.status())}).Increment();
    return ticket.status();
  }

  resolved_ = *std::move(resolved);
  accepted_at_ = env_->clock.Now();
  env_->metrics.nfe.Observe(resolved_->plan->nfe());
  outbox_.emplace(env_->max_outbox_bytes, static_cast<int>(resolved_->samples.size()),
                  resolved_->plan->nfe());
  ticket_ = *ticket;
  const JobId job = env_->engine.Submit({.model = resolved_->model,
                                         .guide = resolved_->guide,
                                         .plan = resolved_->plan,
                                         .image = resolved_->image,
                                         .samples = resolved_->samples,
                                         .priority = resolved_->priority,
                                         .preview_every = resolved_->preview_every,
                                         .deadline = deadline_,
                                         .ticket = *std::move(ticket),
                                         .sink = shared_from_this()});
  std::unique_lock lock(mutex_);
  job_ = job;
  if (cancel_wanted_) {
    lock.unlock();
    env_->engine.Cancel(job);
  }
  return absl::OkStatus();
}

void GenerateCall::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  is_writing_ = false;
  if (!ok) StopLocked(ReaderGoneError());
  Pump();
}

void GenerateCall::OnCancelled() { Stop(ReaderGoneError()); }

absl::Status GenerateCall::ReaderGoneError() const {
  return env_->clock.Now() >= deadline_ - kDeadlineSlack
             ? absl::DeadlineExceededError("the deadline passed before the request was done")
             : absl::CancelledError("cancelled by the client");
}

void GenerateCall::OnDone() {
  if (entered_) env_->calls.Leave();
}

void GenerateCall::OnAccepted(const AcceptedInfo& info) {
  std::lock_guard lock(mutex_);
  v1::GenerateEvent event = AcceptedEvent(info);
  event.mutable_accepted()->set_request_id(identity_.request_id);
  PushOrStop(std::move(event));
  Pump();
}

void GenerateCall::OnProgress(int sample, int evaluations_done, int /*evaluations_total*/) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  outbox_->PushProgress(sample, evaluations_done);
  Pump();
}

void GenerateCall::OnPreview(int sample, int evaluations_done, Pixels pixels) {
  std::lock_guard lock(mutex_);
  if (stopped_ || !outbox_->ReservePreview(sample)) return;
  env_->encoders.Submit(
      [self = shared_from_this(), sample, evaluations_done, pixels = std::move(pixels)] {
        self->EncodePreview(sample, evaluations_done, pixels);
      });
}

void GenerateCall::OnImage(int sample, Pixels pixels, const SampleTimings& timings) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  ++images_encoding_;
  first_start_ = std::min(first_start_, timings.queued);
  last_ready_ = std::max(last_ready_, timings.queued + timings.running);
  env_->encoders.Submit([self = shared_from_this(), sample, pixels = std::move(pixels), timings] {
    self->EncodeImage(sample, pixels, timings);
  });
}

void GenerateCall::OnSampleFailed(int sample, const absl::Status& status) {
  std::lock_guard lock(mutex_);
  PushOrStop(ImageFailureEvent(sample, status));
  Pump();
}

void GenerateCall::OnFinished(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  engine_status_ = status;
  CompleteIfDone();
  Pump();
}

absl::StatusOr<EncodedPicture> GenerateCall::Encode(const Pixels& pixels,
                                                    const std::vector<PngText>& texts) {
  const absl::Time start = env_->clock.Now();
  absl::StatusOr<EncodedPicture> picture;
  try {
    picture = EncodePicture(pixels, resolved_->format, resolved_->scale, texts);
  } catch (const std::exception& exception) {
    picture = ExceptionError(exception);
  }
  const absl::Duration spent = env_->clock.Now() - start;
  env_->metrics.encode_seconds.With({PictureFormatName(resolved_->format)})
      .Observe(absl::ToDoubleSeconds(spent));
  std::lock_guard lock(mutex_);
  encode_time_ += spent;
  return picture;
}

void GenerateCall::EncodePreview(int sample, int evaluations_done, const Pixels& pixels) {
  if (Stopped()) return;
  absl::StatusOr<EncodedPicture> picture = Encode(pixels, {});
  if (!picture.ok()) return Stop(picture.status());
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  outbox_->PushPreview(PreviewOf(sample, evaluations_done, *std::move(picture)));
  Pump();
}

void GenerateCall::EncodeImage(int sample, const Pixels& pixels, const SampleTimings& timings) {
  if (Stopped()) return;
  v1::GenerateRequest request = RequestForImage(*resolved_, sample);
  std::vector<PngText> texts;
  if (resolved_->format == PictureFormat::kPng) {
    texts = {{"Software", absl::StrCat("Skipstream ", env_->version)},
             {"skipstream.request", RequestAsJson(request)}};
  }
  absl::StatusOr<EncodedPicture> picture = Encode(pixels, texts);
  if (!picture.ok()) return Stop(picture.status());

  v1::GenerateEvent event =
      ImageEvent(*resolved_, sample, std::move(request), *std::move(picture), timings);
  std::lock_guard lock(mutex_);
  --images_encoding_;
  PushOrStop(std::move(event));
  CompleteIfDone();
  Pump();
}

v1::Completed GenerateCall::CompletedEvent() const {
  v1::Completed completed;
  *completed.mutable_resolved_request() = resolved_->request;
  completed.set_server_version(env_->version);
  completed.set_evaluations(resolved_->rows());
  completed.set_denoiser_calls(resolved_->evaluations());
  completed.set_queue_seconds(absl::ToDoubleSeconds(first_start_));
  completed.set_run_seconds(absl::ToDoubleSeconds(last_ready_ - first_start_));
  completed.set_encode_seconds(absl::ToDoubleSeconds(encode_time_));
  completed.set_total_seconds(absl::ToDoubleSeconds(env_->clock.Now() - accepted_at_));
  return completed;
}

void GenerateCall::Stop(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  StopLocked(status);
  Pump();
}

void GenerateCall::StopLocked(const absl::Status& status) {
  if (stopped_ || stream_ == nullptr) return;
  stopped_ = true;
  ending_ = status;
  if (outbox_) outbox_->Clear();
  if (!resolved_ || engine_status_) return;  // nothing to take off the engine
  if (job_) {
    env_->engine.Cancel(*job_);
  } else {
    cancel_wanted_ = true;
  }
}

void GenerateCall::PushOrStop(v1::GenerateEvent event) {
  if (stopped_) return;
  if (!outbox_->Push(std::move(event))) StopLocked(SlowReaderError(env_->max_outbox_bytes));
}

void GenerateCall::CompleteIfDone() {
  if (stopped_ || !engine_status_ || images_encoding_ > 0) return;
  ending_ = *engine_status_;
  if (!ending_->ok()) return;
  v1::GenerateEvent event;
  *event.mutable_completed() = CompletedEvent();
  PushOrStop(std::move(event));
}

void GenerateCall::Pump() {
  if (is_writing_ || stream_ == nullptr) return;
  if (outbox_) {
    const int64_t dropped = outbox_->previews_dropped();
    env_->metrics.previews_dropped.Increment(static_cast<double>(dropped - previews_dropped_));
    previews_dropped_ = dropped;
    if (std::optional<v1::GenerateEvent> event = outbox_->Pop()) {
      writing_ = Serialized(*event);
      if (event->has_image() && !first_image_sent_) {
        first_image_sent_ = true;
        env_->metrics.time_to_first_image_seconds.Observe(
            absl::ToDoubleSeconds(env_->clock.Now() - arrived_));
      }
      is_writing_ = true;
      stream_->StartWrite(&writing_);
      return;
    }
  }
  if (ending_) FinishStream();
}

void GenerateCall::FinishStream() {
  stopped_ = true;
  env_->metrics.requests.With({model_label_, solver_label_, StatusCodeName(*ending_)}).Increment();
  if (resolved_) {
    env_->metrics.request_duration_seconds.With({model_label_})
        .Observe(absl::ToDoubleSeconds(env_->clock.Now() - arrived_));
  }
  LogEnd();
  ticket_ = AdmissionTicket();
  Stream* stream = std::exchange(stream_, nullptr);
  stream->Finish(ToGrpcStatus(*ending_));
}

void GenerateCall::LogEnd() const {
  LogFields fields = IdentityFields(identity_);
  fields.push_back({"model", model_label_});
  fields.push_back({"solver", solver_label_});
  if (resolved_) {
    fields.push_back({"nfe", static_cast<int64_t>(resolved_->plan->nfe())});
    fields.push_back({"images", static_cast<int64_t>(resolved_->samples.size())});
    fields.push_back({"evaluations", resolved_->rows()});
  }
  fields.push_back({"code", StatusCodeName(*ending_)});
  fields.push_back({"reason", GetReason(*ending_)});
  if (first_start_ < absl::InfiniteDuration()) {
    fields.push_back({"queue_seconds", absl::ToDoubleSeconds(first_start_)});
    fields.push_back({"run_seconds", absl::ToDoubleSeconds(last_ready_ - first_start_)});
  }
  fields.push_back({"total_seconds", absl::ToDoubleSeconds(env_->clock.Now() - arrived_)});
  env_->log.Info("generate", fields);
}

// gRPC's side of the call; gone after OnDone.
class GenerateReactor final : public Stream {
 public:
  GenerateReactor(std::shared_ptr<const GenerateEnvironment> environment, CallIdentity identity,
                  absl::Time deadline)
      : call_(std::make_shared<GenerateCall>(std::move(environment), std::move(identity), this,
                                             deadline)) {}

  void Start(const v1::GenerateRequest& request) { call_->Start(request); }

  void OnWriteDone(bool ok) override { call_->OnWriteDone(ok); }
  void OnCancel() override { call_->OnCancelled(); }
  void OnDone() override {
    call_->OnDone();
    delete this;
  }

 private:
  const std::shared_ptr<GenerateCall> call_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    const v1::GenerateRequest& request, CallIdentity identity) {
  auto* reactor =
      new GenerateReactor(std::move(environment), std::move(identity), DeadlineOf(*context));
  reactor->Start(request);
  return reactor;
}

}  // namespace skipstream
