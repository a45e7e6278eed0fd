#include "client/cc/generate_call.h"

#include <grpc/support/time.h>
#include <grpcpp/support/time.h>

#include <algorithm>
#include <random>
#include <utility>

#include "client/cc/request_id.h"

namespace skipstream::client {

namespace {

// A time for gRPC on the clock that nobody sets; gRPC takes those of the system's as wall time.
gpr_timespec MonotonicIn(absl::Duration wait) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(wait), GPR_TIMESPAN));
}

}  // namespace

void SetDeadline(grpc::ClientContext& context, const Deadline& deadline) {
  if (!deadline.never()) context.set_deadline(MonotonicIn(deadline.Left()));
}

// The stream of one attempt. Keeps itself and the call alive until OnDone.
class GenerateCall::Attempt : public grpc::ClientReadReactor<v1::GenerateEvent> {
 public:
  Attempt(std::shared_ptr<GenerateCall> call, v1::GenerateRequest request)
      : call_(std::move(call)), request_(std::move(request)) {
    SetDeadline(context_, call_->deadline_);
    AddMetadata(context_, call_->metadata_);
  }

  void Start(std::shared_ptr<Attempt> self) {
    self_ = std::move(self);
    call_->stub_->async()->Generate(&context_, &request_, this);
    StartRead(&event_);
    StartCall();
  }

  void TryCancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    call_->HandleEvent(event_);
    StartRead(&event_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Attempt> self = std::move(self_);
    call_->AttemptDone(status);
  }

 private:
  const std::shared_ptr<GenerateCall> call_;
  const v1::GenerateRequest request_;
  grpc::ClientContext context_;
  v1::GenerateEvent event_;
  std::shared_ptr<Attempt> self_;
};

GenerateCall::GenerateCall(std::shared_ptr<v1::ImageGeneration::Stub> stub,
                           const RetryPolicy& policy, const CallMetadata& metadata,
                           const v1::GenerateRequest& request, GenerateCallbacks callbacks,
                           Client::DoneCallback on_done, Deadline deadline)
    : stub_(std::move(stub)),
      metadata_(metadata),
      callbacks_(std::move(callbacks)),
      on_done_(std::move(on_done)),
      deadline_(deadline),
      retry_(policy) {
  v1::GenerateRequest pinned = request;
  std::optional<std::mt19937> seeds_of_id;
  if (!request.request_id().empty()) {
    seeds_of_id = SeedSourceOf(request.request_id());
  } else if (policy.max_attempts > 1) {
    pinned.set_request_id(DrawRequestId(random_));
  }
  result_.request_id = pinned.request_id();
  const bool is_pinned = PinSeeds(pinned, [&] {
    return seeds_of_id ? static_cast<uint32_t>((*seeds_of_id)()) : absl::Uniform<uint32_t>(random_);
  });
  pending_.emplace(std::move(pinned), is_pinned);
}

void GenerateCall::Start() { StartAttempt(); }

void GenerateCall::Fail(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  wait_ = std::make_unique<grpc::Alarm>();  // on a gRPC thread, as every other end
  wait_->Set(MonotonicIn(absl::ZeroDuration()), [self = shared_from_this(), status](bool) {
    std::unique_ptr<grpc::Alarm> elapsed;
    {
      std::lock_guard callback_lock(self->mutex_);
      elapsed = std::move(self->wait_);
    }
    self->Finish(status);
  });
}

void GenerateCall::StartAttempt() {
  auto attempt = std::make_shared<Attempt>(shared_from_this(), pending_->NextAttempt());
  bool cancelled;
  {
    std::lock_guard lock(mutex_);
    cancelled = cancelled_;
    if (!cancelled) attempt_ = attempt;
  }
  if (cancelled) return Finish(absl::CancelledError("cancelled by the client"));
  ++result_.attempts;
  attempt->Start(attempt);
}

void GenerateCall::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (attempt_) attempt_->TryCancel();
  if (wait_) wait_->Cancel();
}

void GenerateCall::HandleEvent(v1::GenerateEvent& event) {
  if (!pending_->Rewrite(event)) return;
  switch (event.event_case()) {
    case v1::GenerateEvent::kAccepted:
      if (callbacks_.on_accepted) callbacks_.on_accepted(event.accepted());
      return;
    case v1::GenerateEvent::kProgress:
      if (callbacks_.on_progress) callbacks_.on_progress(event.progress());
      return;
    case v1::GenerateEvent::kPreview:
      if (callbacks_.on_preview) callbacks_.on_preview(event.preview());
      return;
    case v1::GenerateEvent::kImage:
      retry_.NoteProgress();
      if (callbacks_.on_image) callbacks_.on_image(event.image());
      result_.images.push_back(std::move(*event.mutable_image()));
      return;
    case v1::GenerateEvent::kImageFailure:
      if (callbacks_.on_image_failure) callbacks_.on_image_failure(event.image_failure());
      result_.failures.push_back(event.image_failure());
      return;
    case v1::GenerateEvent::kCompleted:
      completed_ = true;
      result_.completed = std::move(*event.mutable_completed());
      return;
    case v1::GenerateEvent::EVENT_NOT_SET:  // from a newer server
      return;
  }
}

void GenerateCall::AttemptDone(const grpc::Status& grpc_status) {
  bool cancelled;
  {
    std::lock_guard lock(mutex_);
    attempt_.reset();
    cancelled = cancelled_;
  }
  const absl::Status status = FromGrpcStatus(grpc_status);
  if (status.ok()) {
    return Finish(completed_
                      ? status
                      : absl::InternalError("the server ended the stream before `completed`"));
  }
  if (cancelled) return Finish(absl::CancelledError("cancelled by the client"));
  const auto wait = retry_.NextWait(status, absl::Uniform(random_, 0.0, 1.0));
  if (wait && pending_->all_settled() && !result_.images.empty() && result_.failures.empty()) {
    // Only the closing event was lost, and it says nothing that the images do not.
    *result_.completed.mutable_resolved_request() = pending_->ResolvedRequest();
    return Finish(absl::OkStatus());
  }
  if (!wait || pending_->all_settled() || *wait >= deadline_.Left()) return Finish(status);
  if (callbacks_.on_retry) callbacks_.on_retry(status, *wait);
  WaitThenRetry(*wait);
}

void GenerateCall::WaitThenRetry(absl::Duration wait) {
  std::lock_guard lock(mutex_);
  wait_ = std::make_unique<grpc::Alarm>();
  wait_->Set(MonotonicIn(cancelled_ ? absl::ZeroDuration() : wait),
             [self = shared_from_this()](bool) {
               std::unique_ptr<grpc::Alarm> elapsed;
               {
                 std::lock_guard callback_lock(self->mutex_);
                 elapsed = std::move(self->wait_);
               }
               self->StartAttempt();
             });
}

void GenerateCall::Finish(const absl::Status& status) {
  if (!status.ok()) return on_done_(status);
  const auto by_index = [](const auto& a, const auto& b) {
    return a.image_index() < b.image_index();
  };
  std::sort(result_.images.begin(), result_.images.end(), by_index);
  std::sort(result_.failures.begin(), result_.failures.end(), by_index);
  on_done_(std::move(result_));
}

}  // namespace skipstream::client
