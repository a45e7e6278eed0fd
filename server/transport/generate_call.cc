#include "server/transport/generate_call.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/error_details.h"
#include "server/transport/callback_order.h"
#include "server/transport/generation_reader.h"
#include "server/transport/grpc_status.h"
#include "server/transport/serve_request.h"
#include "server/transport/wire_limits.h"
#include "server/transport/write_watchdog.h"

namespace skipstream {
namespace {

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

// gRPC's side of the call; gone after OnDone, while the reader may be known for longer. gRPC calls
// it back only once Start has returned.
class GenerateReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                              public EventStream {
 public:
  GenerateReactor(std::shared_ptr<const GenerateEnvironment> environment,
                  grpc::CallbackServerContext* context, CallIdentity identity)
      : env_(std::move(environment)),
        identity_(std::move(identity)),
        watchdog_(std::make_shared<WriteWatchdog>(env_->write_timeout,
                                                  [context] { context->TryCancel(); })),
        reader_(std::make_shared<GenerationReader>(
            GenerationReader::Options{.max_outbox_bytes = env_->max_outbox_bytes,
                                      .deadline = DeadlineOf(*context)},
            *this, env_->clock, env_->metrics)) {}

  void Start(const v1::GenerateRequest& request) {
    env_->calls.Enter();
    served_by_ =
        ServeRequest(env_, identity_.caller.tenant, identity_.request_id, request, reader_);
    order_.HandOver();
  }

  void Write(const v1::GenerateEvent& event) override {
    writing_ = Serialized(event);
    watchdog_->WriteStarted();
    StartWrite(&writing_);
  }
  void Finish(const absl::Status& status, const CallSummary& summary) override {
    LogEnd(status, summary);
    order_.Finish();
    grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(ToGrpcStatus(status));
  }

  void OnWriteDone(bool ok) override {
    const CallbackOrder::Callback callback(order_);
    watchdog_->WriteEnded();
    if (!ok) Leave();
    reader_->OnWritten();
  }
  void OnCancel() override {
    const CallbackOrder::Callback callback(order_);
    Leave();
  }
  void OnDone() override {
    order_.Done();
    watchdog_->Stop();
    env_->calls.Leave();
    delete this;
  }

 private:
  void Leave() {
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
  const CallIdentity identity_;
  const std::shared_ptr<WriteWatchdog> watchdog_;
  const std::shared_ptr<GenerationReader> reader_;
  ServedBy served_by_;
  grpc::ByteBuffer writing_;  // what gRPC is busy with
  CallbackOrder order_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    const v1::GenerateRequest& request, CallIdentity identity) {
  auto* reactor = new GenerateReactor(std::move(environment), context, std::move(identity));
  reactor->Start(request);
  return reactor;
}

}  // namespace skipstream
