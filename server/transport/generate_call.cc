#include "server/transport/generate_call.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/transport/generation_reader.h"
#include "server/transport/grpc_status.h"
#include "server/transport/serve_request.h"
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
class GenerateReactor final : public grpc::ServerWriteReactor<v1::GenerateEvent>,
                              public EventStream {
 public:
  GenerateReactor(std::shared_ptr<const GenerateEnvironment> environment,
                  grpc::CallbackServerContext* context)
      : env_(std::move(environment)),
        watchdog_(std::make_shared<WriteWatchdog>(env_->write_timeout,
                                                  [context] { context->TryCancel(); })),
        reader_(std::make_shared<GenerationReader>(
            GenerationReader::Options{.max_outbox_bytes = env_->max_outbox_bytes,
                                      .deadline = DeadlineOf(*context)},
            *this, env_->clock, env_->metrics)) {
    env_->calls.Enter();
  }

  void Start(const v1::GenerateRequest& request, const std::shared_ptr<const Tenant>& tenant) {
    served_by_ = ServeRequest(env_, tenant, request, reader_);
  }

  void Write(const v1::GenerateEvent& event) override {
    watchdog_->WriteStarted();
    StartWrite(&event);
  }
  void Finish(const absl::Status& status) override {
    grpc::ServerWriteReactor<v1::GenerateEvent>::Finish(ToGrpcStatus(status));
  }

  void OnWriteDone(bool ok) override {
    watchdog_->WriteEnded();
    if (!ok) Leave();
    reader_->OnWritten();
  }
  void OnCancel() override { Leave(); }
  void OnDone() override {
    watchdog_->Stop();
    env_->calls.Leave();
    delete this;
  }

 private:
  void Leave() {
    if (served_by_.generation) served_by_.generation->Leave(*reader_);
    reader_->OnGone();
  }

  const std::shared_ptr<const GenerateEnvironment> env_;
  const std::shared_ptr<WriteWatchdog> watchdog_;
  const std::shared_ptr<GenerationReader> reader_;
  ServedBy served_by_;
};

}  // namespace

grpc::ServerWriteReactor<v1::GenerateEvent>* StartGenerateCall(
    std::shared_ptr<const GenerateEnvironment> environment, grpc::CallbackServerContext* context,
    const v1::GenerateRequest* request, const std::shared_ptr<const Tenant>& tenant) {
  // gRPC keeps its message until the call ends. A picture in it can be many times larger than what
  // has become of it then, so it goes when it has been read.
  v1::GenerateRequest taken;
  taken.Swap(const_cast<v1::GenerateRequest*>(request));  // gRPC made it for this call alone
  auto* reactor = new GenerateReactor(std::move(environment), context);
  reactor->Start(taken, tenant);
  return reactor;
}

}  // namespace skipstream
