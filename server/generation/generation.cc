#include "server/generation/generation.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"
#include "server/generation/generate_events.h"

namespace skipstream {
namespace {

absl::Status ExceptionError(const std::exception& exception) {
  return absl::InternalError(absl::StrCat("unexpected error: ", exception.what()));
}

std::function<absl::Duration(int64_t)> TimeOn(std::shared_ptr<const LoadedModel> model) {
  return [model = std::move(model)](int64_t rows) {
    return model->cost().EstimateDuration(rows, model->cost().Knee());
  };
}

// Returns the error of a call that joined when the deadline of the subscribers before it had
// already passed.
absl::Status JoinedTooLateError() {
  absl::Status status = absl::UnavailableError(
      "the request this one had joined ran out of time; try again, and it starts anew");
  SetReason(status, "JOINED_TOO_LATE");
  return status;
}

}  // namespace

Generation::Generation(std::shared_ptr<const GenerateEnvironment> environment,
                       std::shared_ptr<const Tenant> tenant, std::optional<IdempotencyKey> key,
                       std::string request_id)
    : env_(std::move(environment)),
      tenant_(std::move(tenant)),
      request_id_(std::move(request_id)),
      key_(std::move(key)) {}

// --- Subscribers ---

Generation::Joined Generation::Join(const std::shared_ptr<Subscriber>& reader) {
  std::lock_guard lock(mutex_);
  // Once it runs, a new subscriber gets the beginning only from kept events.
  if (over_ && !completed_) return Joined::kOver;
  if (resolved_ && !key_) return Joined::kOver;
  if (readers_.size() >= size_t{kMaxSubscribers}) return Joined::kFull;
  if (resolved_) {
    reader->Begin(facts_, ticket_, /*timed=*/false);
    TellSoFar(*reader);
  }
  if (completed_) {
    reader->End(absl::OkStatus());
    return Joined::kYes;
  }
  readers_.push_back(reader);
  if (reader->deadline() > deadline_) {
    deadline_ = reader->deadline();
    if (job_ && !engine_status_) env_->engine.ExtendDeadline(*job_, deadline_);
  }
  return Joined::kYes;
}

// Fits into any outbox: what is kept is bounded as one is.
void Generation::TellSoFar(Subscriber& reader) const {
  for (const SharedEvent& event : told_) {
    if (event->has_accepted() && !reader.Push(event)) return;
  }
  for (size_t image = 0; image < progress_.size(); ++image) {
    if (progress_[image] > 0 && !has_image_[image]) {
      reader.PushProgress(static_cast<int>(image), progress_[image]);
    }
  }
  for (const SharedEvent& event : told_) {
    if (!event->has_accepted() && !reader.Push(event)) return;
  }
}

void Generation::Leave(const Subscriber& reader) {
  std::lock_guard lock(mutex_);
  const size_t left = std::erase_if(
      readers_, [&](const std::shared_ptr<Subscriber>& one) { return one.get() == &reader; });
  if (left > 0 && readers_.empty()) StopLocked(absl::CancelledError("nobody reads it any more"));
}

void Generation::Tell(v1::GenerateEvent event) {
  if (over_) return;
  const SharedEvent shared = std::make_shared<const v1::GenerateEvent>(std::move(event));
  Keep(shared);
  std::erase_if(readers_,
                [&](const std::shared_ptr<Subscriber>& reader) { return !reader->Push(shared); });
  if (readers_.empty()) StopLocked(absl::CancelledError("nobody reads it any more"));
}

void Generation::Keep(const SharedEvent& event) {
  if (!key_) return;
  const size_t bytes = event->ByteSizeLong();
  if (told_bytes_ + bytes > env_->max_outbox_bytes) return ForgetKey();
  told_bytes_ += bytes;
  told_.push_back(event);
}

void Generation::ForgetKey() {
  if (key_) env_->generations.Forget(*key_, this);
  key_.reset();
  told_.clear();
}

// --- Beginning ---

void Generation::Start(const v1::GenerateRequest& request) {
  absl::Status status;
  try {
    status = ResolveAndSubmit(request);
  } catch (const std::exception& exception) {
    status = ExceptionError(exception);
  }
  if (!status.ok()) Stop(status);
}

absl::Status Generation::ResolveAndSubmit(const v1::GenerateRequest& request) {
  // Decoding images costs something: not for a request that is refused anyway.
  if (request.has_input_image()) {
    AdmissionRequest least = {.tenant = tenant_, .evaluations = 1};
    if (auto model = env_->models.Find(request.model()); model.ok()) least.time_of = TimeOn(*model);
    absl::Status refusal = env_->admission.Check(least);
    if (!refusal.ok()) {
      env_->metrics.rejected.With({GetReason(refusal)}).Increment();
      return refusal;
    }
  }
  absl::StatusOr<ResolvedGeneration> resolved =
      ResolveRequest(request, env_->models, env_->limits, env_->draw_seed);
  std::string model_label;   // empty if no known model was named
  std::string solver_label;  // empty if the request was not valid
  if (resolved.ok()) {
    model_label = resolved->model->name();
    solver_label = SolverName(resolved->solver);
  } else if (const auto model = env_->models.Find(request.model()); model.ok()) {
    model_label = (*model)->name();
  }
  {
    std::lock_guard lock(mutex_);
    facts_ = {.model = model_label, .solver = solver_label};
  }
  if (!resolved.ok()) return resolved.status();
  absl::StatusOr<AdmissionTicket> ticket =
      env_->admission.Admit({.tenant = tenant_,
                             .evaluations = resolved->rows(),
                             .bytes = resolved->bytes(static_cast<int64_t>(env_->max_outbox_bytes)),
                             .time_of = TimeOn(resolved->model)});
  if (!ticket.ok()) {
    env_->metrics.rejected.With({GetReason(ticket.status())}).Increment();
    return ticket.status();
  }
  std::lock_guard lock(mutex_);
  if (!over_) Submit(*std::move(resolved), *std::move(ticket));
  return absl::OkStatus();
}

void Generation::Submit(ResolvedGeneration resolved, AdmissionTicket ticket) {
  resolved_ = std::move(resolved);
  accepted_at_ = env_->clock.Now();
  ticket_ = ticket;
  facts_.images = static_cast<int>(resolved_->samples.size());
  facts_.evaluations_per_image = resolved_->plan->nfe();
  facts_.evaluations = resolved_->rows();
  progress_.resize(resolved_->samples.size());
  has_image_.resize(resolved_->samples.size());
  encoding_preview_.resize(resolved_->samples.size());
  for (const std::shared_ptr<Subscriber>& reader : readers_) {
    reader->Begin(facts_, ticket_, /*timed=*/true);
  }
  job_ = env_->engine.Submit({.model = resolved_->model,
                              .guide = resolved_->guide,
                              .plan = resolved_->plan,
                              .image = resolved_->image,
                              .samples = resolved_->samples,
                              .priority = resolved_->priority,
                              .preview_every = resolved_->preview_every,
                              .deadline = deadline_,
                              .tenant = tenant_,
                              .ticket = std::move(ticket),
                              .sink = shared_from_this()});
}

// --- From the engine ---

void Generation::OnAccepted(const AcceptedInfo& info) {
  std::lock_guard lock(mutex_);
  env_->metrics.nfe.Observe(facts_.evaluations_per_image);
  v1::GenerateEvent event = AcceptedEvent(info);
  event.mutable_accepted()->set_request_id(request_id_);
  Tell(std::move(event));
}

void Generation::OnProgress(int sample, int evaluations_done, int /*evaluations_total*/) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  progress_[static_cast<size_t>(sample)] = evaluations_done;
  for (const std::shared_ptr<Subscriber>& reader : readers_) {
    reader->PushProgress(sample, evaluations_done);
  }
}

void Generation::OnPreview(int sample, int evaluations_done, Image pixels) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  // One per image at a time: encoders that fall behind skip previews, and never reorder them.
  if (encoding_preview_[static_cast<size_t>(sample)]) {
    env_->metrics.previews_dropped.Increment(static_cast<double>(readers_.size()));
    return;
  }
  bool wanted = false;
  for (const std::shared_ptr<Subscriber>& reader : readers_) {
    wanted = reader->WantsPreview(sample) || wanted;
  }
  if (!wanted) return;
  encoding_preview_[static_cast<size_t>(sample)] = true;
  EncodeLater([this, sample, evaluations_done, pixels = std::move(pixels)] {
    EncodePreview(sample, evaluations_done, pixels);
  });
}

void Generation::OnImage(int sample, Image pixels, const SampleTimings& timings) {
  std::lock_guard lock(mutex_);
  if (over_) return;
  ++images_encoding_;
  first_start_ = std::min(first_start_, timings.queued);
  last_ready_ = std::max(last_ready_, timings.queued + timings.running);
  EncodeLater([this, sample, pixels = std::move(pixels), timings] {
    EncodeImage(sample, pixels, timings);
  });
}

void Generation::OnSampleFailed(int sample, const absl::Status& status) {
  std::lock_guard lock(mutex_);
  Tell(ImageFailureEvent(sample, status));
}

void Generation::OnFinished(const absl::Status& status) {
  if (GetReason(status) == kDeadlineUnreachable) {
    env_->metrics.rejected.With({kDeadlineUnreachable}).Increment();
  }
  std::lock_guard lock(mutex_);
  engine_status_ = status;
  CompleteIfDone();
}

// --- Encoding ---

void Generation::EncodeLater(std::function<void()> encode) {
  env_->encoders.Submit(Owner(), [self = shared_from_this(), encode = std::move(encode)] {
    try {
      encode();
    } catch (const std::exception& exception) {
      self->Stop(ExceptionError(exception));
    }
  });
}

absl::StatusOr<EncodedImage> Generation::Encode(const Image& pixels,
                                                const std::vector<PngText>& texts) {
  const absl::Time start = env_->clock.Now();
  absl::StatusOr<EncodedImage> image;
  try {
    image = skipstream::EncodeImage(pixels, resolved_->format, resolved_->scale, texts);
  } catch (const std::exception& exception) {
    image = ExceptionError(exception);
  }
  const absl::Duration spent = env_->clock.Now() - start;
  env_->metrics.encode_seconds.With({ImageFormatName(resolved_->format)})
      .Observe(absl::ToDoubleSeconds(spent));
  std::lock_guard lock(mutex_);
  encode_time_ += spent;
  return image;
}

void Generation::EncodePreview(int sample, int evaluations_done, const Image& pixels) {
  if (Over()) return;
  absl::StatusOr<EncodedImage> image = Encode(pixels, {});
  if (!image.ok()) return Stop(image.status());
  v1::GenerateEvent event;
  *event.mutable_preview() = PreviewOf(sample, evaluations_done, *std::move(image));
  const SharedEvent shared = std::make_shared<const v1::GenerateEvent>(std::move(event));
  std::lock_guard lock(mutex_);
  encoding_preview_[static_cast<size_t>(sample)] = false;
  if (over_) return;
  for (const std::shared_ptr<Subscriber>& reader : readers_) reader->PushPreview(shared);
}

void Generation::EncodeImage(int sample, const Image& pixels, const SampleTimings& timings) {
  if (Over()) return;
  v1::GenerateRequest request = RequestForImage(*resolved_, sample);
  std::vector<PngText> texts;
  if (resolved_->format == ImageFormat::kPng && !request.output().no_metadata()) {
    texts = {{"Software", absl::StrCat("Skipstream ", env_->version)},
             {"skipstream.request", RequestAsJson(request)}};
  }
  absl::StatusOr<EncodedImage> image = Encode(pixels, texts);
  if (!image.ok()) return Stop(image.status());

  v1::GenerateEvent event =
      ImageEvent(*resolved_, sample, std::move(request), *std::move(image), timings);
  std::lock_guard lock(mutex_);
  --images_encoding_;
  has_image_[static_cast<size_t>(sample)] = true;
  Tell(std::move(event));
  CompleteIfDone();
}

// --- Ending ---

v1::Completed Generation::CompletedEvent() const {
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

void Generation::Stop(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  StopLocked(status);
}

void Generation::StopLocked(const absl::Status& status) {
  if (over_) return;
  over_ = true;
  ForgetKey();
  // Released before subscribers learn of the end, so that a client that comes back finds room.
  ticket_ = AdmissionTicket();
  for (const std::shared_ptr<Subscriber>& reader : readers_) {
    reader->SetLabels(facts_.model, facts_.solver);
    reader->Fail(status);
  }
  readers_.clear();
  env_->encoders.Discard(Owner());
  if (job_ && !engine_status_) env_->engine.Cancel(*job_);
}

void Generation::CompleteIfDone() {
  if (over_ || !engine_status_ || images_encoding_ > 0) return;
  if (!engine_status_->ok()) return EndReaders(*engine_status_);
  v1::GenerateEvent event;
  *event.mutable_completed() = CompletedEvent();
  Tell(std::move(event));
  if (over_) return;  // the event exceeded the last subscriber's bound
  completed_ = true;
  EndReaders(absl::OkStatus());
}

void Generation::EndReaders(const absl::Status& status) {
  over_ = true;
  if (completed_ && key_) {
    env_->generations.Finish(*key_, this, {.facts = facts_, .events = told_});
  } else {
    ForgetKey();
  }
  ticket_ = AdmissionTicket();  // as in StopLocked
  const absl::Time now = env_->clock.Now();
  for (const std::shared_ptr<Subscriber>& reader : readers_) {
    const bool has_time = absl::IsDeadlineExceeded(status) && reader->deadline() > now;
    reader->End(has_time ? JoinedTooLateError() : status);
  }
  readers_.clear();
}

}  // namespace skipstream
