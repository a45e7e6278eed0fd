#include "server/rpc/generate_call.h"

#include <grpc/support/time.h>

#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/error_details.h"
#include "server/generation/serve_request.h"
#include "server/generation/subscriber.h"
#include "server/request/image_limits.h"
#include "server/rpc/call_identity.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/wire_limits.h"
#include "server/rpc/write_watchdog.h"

namespace skipstream {
namespace {

// Stands for no deadline: no call takes as long, and nanoseconds cannot hold a time much farther
// away.
constexpr absl::Duration kNoDeadline = absl::Hours(24 * 365 * 100);

// Returns the deadline on `clock`. gRPC's deadline is on another clock, from which only the time
// left is taken.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const Clock& clock) {
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  const absl::Duration duration = absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
  return duration > kNoDeadline ? absl::InfiniteFuture() : clock.Now() + duration;
}

// Implements gRPC's side of the call. It is gone after OnDone, while the subscriber may live
// longer.
class GenerateReactor final : public RequestReactor, public EventStream {
 public:
  GenerateReactor(std::shared_ptr<const GenerateEnvironment> environment,
                  grpc::CallbackServerContext* context, Caller caller)
      : RequestReactor(environment->request_timeout),
        env_(std::move(environment)),
        context_(*context),
        watchdog_(std::make_shared<WriteWatchdog>(env_->write_timeout,
                                                  [context] { context->TryCancel(); })),
        identity_{.caller = std::move(caller), .request_id = {}, .trace = {}} {
    ReadRequest();
  }

  void Write(const v1::GenerateEvent& event) override {
    writing_ = Serialized(event);
    watchdog_->WriteStarted();
    StartWrite(&writing_);
  }
  void Finish(const absl::Status& status, const CallSummary& summary) override {
    LogEnd(status, summary);
    order().Finish();
    grpc::ServerGenericBidiReactor::Finish(ToGrpcStatus(status));
  }

  void OnWriteDone(bool ok) override {
    const CallbackOrder::Callback callback(order());
    watchdog_->WriteEnded();
    if (!ok) Leave();
    Reader()->OnWritten();
  }
  void OnCancel() override {
    const CallbackOrder::Callback callback(order());
    Leave();
  }
  void OnDone() override {
    order().Done();
    StopReading();
    watchdog_->Stop();
    if (reader_ != nullptr) env_->calls.Leave();
    delete this;
  }

 private:
  void OnRequest(const grpc::ByteBuffer& bytes) override {
    v1::GenerateRequest request;
    const absl::Status parsed = ParseBounded(bytes, kMaxRequestBytes, request);
    identity_ = IdentifyCall(context_, std::move(identity_.caller), request.request_id());
    if (!parsed.ok()) {
      // Cancelled before its message was there.
      if (!bytes.Valid() && context_.IsCancelled()) {
        return Refuse(absl::CancelledError("the call was cancelled before its request arrived"));
      }
      return Refuse(parsed);
    }
    env_->calls.Enter();
    const auto reader = std::make_shared<Subscriber>(
        Subscriber::Options{.max_outbox_bytes = env_->max_outbox_bytes,
                            .deadline = DeadlineOf(context_, env_->clock)},
        *this, env_->clock, env_->metrics);
    {
      std::lock_guard lock(mutex_);
      reader_ = reader;
    }
    ServedBy served_by =
        ServeRequest(env_, identity_.caller.tenant, identity_.request_id, request, reader);
    std::unique_lock lock(mutex_);
    served_by_ = std::move(served_by);
    serving_ = true;
    if (!gone_) return;
    lock.unlock();
    LeaveGeneration();
  }
  void Refuse(const absl::Status& status) override {
    // A call that is being served ends through its subscriber, which ends it once.
    if (const auto reader = Reader()) return reader->Fail(status);
    CountUnresolvedCall(*env_, status);
    order().Finish();
    grpc::ServerGenericBidiReactor::Finish(ToGrpcStatus(status));
  }

  std::shared_ptr<Subscriber> Reader() {
    std::lock_guard lock(mutex_);
    return reader_;
  }

  // Takes the client's leave; while ServeRequest runs, OnRequest does that when it is back.
  void Leave() {
    {
      std::lock_guard lock(mutex_);
      gone_ = true;
      if (!serving_) return;
    }
    LeaveGeneration();
  }
  void LeaveGeneration() {
    if (served_by_.generation) served_by_.generation->Leave(*reader_);
    reader_->OnGone();
  }

  void LogEnd(const absl::Status& status, const CallSummary& summary) const {
    LogFields fields = IdentityFields(identity_);
    fields.push_back({"model", summary.facts.model});
    fields.push_back({"solver", summary.facts.solver});
    if (summary.facts.images > 0) {
      fields.push_back({"nfe", int64_t{summary.facts.evaluations_per_image}});
      fields.push_back({"images", int64_t{summary.facts.images}});
      fields.push_back({"evaluations", summary.facts.evaluations});
    }
    fields.push_back({"code", StatusCodeName(status)});
    fields.push_back({"reason", GetReason(status)});
    if (summary.completed) {
      fields.push_back({"queue_seconds", summary.queue_seconds});
      fields.push_back({"run_seconds", summary.run_seconds});
    }
    fields.push_back({"total_seconds", absl::ToDoubleSeconds(summary.total)});
    env_->log.Info("generate", fields);
  }

  const std::shared_ptr<const GenerateEnvironment> env_;
  grpc::CallbackServerContext& context_;
  const std::shared_ptr<WriteWatchdog> watchdog_;
  CallIdentity identity_;     // whole once the request has been read
  grpc::ByteBuffer writing_;  // what gRPC is busy with

  std::mutex mutex_;
  std::shared_ptr<Subscriber> reader_;  // null: the request never came, or was none
  ServedBy served_by_;                  // set once, with `serving_`
  bool serving_ = false;
  bool gone_ = false;
};

}  // namespace

grpc::ServerGenericBidiReactor* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    Caller caller) {
  return new GenerateReactor(std::move(environment), context, std::move(caller));
}

void CountUnresolvedCall(const GenerateEnvironment& environment, const absl::Status& status) {
  environment.metrics.requests.With({"", "", StatusCodeName(status)}).Increment();
}

}  // namespace skipstream
