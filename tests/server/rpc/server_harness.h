// A server on a loopback port over a BrokenExecutor, and clients of it.
#ifndef SKIPSTREAM_TESTS_SERVER_RPC_SERVER_HARNESS_H_
#define SKIPSTREAM_TESTS_SERVER_RPC_SERVER_HARNESS_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "prometheus/registry.h"
#include "server/engine/admission.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/metrics/metrics.h"
#include "server/rpc/server.h"
#include "server/security/authenticator.h"
#include "server/security/tls.h"
#include "skipstream/v1/image_generation.grpc.pb.h"
#include "tests/testing/broken_executor.h"
#include "tests/testing/recording_log.h"
#include "tests/testing/test_models.h"

namespace skipstream {

struct CallResult {
  std::vector<v1::GenerateEvent> events;
  grpc::Status status;

  std::vector<v1::Image> Images() const;  // by index
  const v1::Completed& completed() const { return events.back().completed(); }
};

// A Generate call that is being read.
class OpenCall {
 public:
  // The call ends with DEADLINE_EXCEEDED after `timeout`, so that a lost event fails a test.
  OpenCall(v1::ImageGeneration::Stub& stub, const v1::GenerateRequest& request,
           absl::Duration timeout);

  // The next event; fails the test if the stream has ended.
  v1::GenerateEvent Read();
  // Reads that many events, fewer if the stream ends before.
  void Skip(int events);
  // Reads until an event of this kind.
  v1::GenerateEvent ReadUntil(v1::GenerateEvent::EventCase kind);
  // Reads to the end.
  CallResult Finish();
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> reader_;
};

std::unique_ptr<Authenticator> MakeAuthenticator(const std::string& auth_file);

class ServerHarness {
 public:
  struct Options {
    // Manual unless said otherwise: the test runs the evaluations.
    PuppetExecutor::Options executor = {.info = FruitInfo()};
    Admission::Options admission;
    Engine::Options engine;
    std::string listen = "127.0.0.1:0";
    Server::Options server = {.version = "1.2.3"};
    std::string auth_file;  // its text; empty: everybody may do everything
    TlsIdentity* tls = nullptr;
    SeedSource draw_seed = [] { return 42u; };
  };
  explicit ServerHarness(Options options);
  ServerHarness() : ServerHarness(Options()) {}

  std::shared_ptr<grpc::Channel> NewChannel() const;

  OpenCall Start(const std::string& request, absl::Duration timeout = absl::Seconds(60)) {
    return OpenCall(*stub, Request(request), timeout);
  }
  CallResult Generate(const v1::GenerateRequest& request) {
    return OpenCall(*stub, request, absl::Seconds(60)).Finish();
  }
  CallResult Generate(const std::string& request) { return Generate(Request(request)); }

  // Returns the status of a unary call with these bytes as its request; `method` as in
  // "/skipstream.v1.ModelControl/Load".
  grpc::Status CallWithBytes(const std::string& method, const std::string& bytes,
                             grpc::ClientContext& context) const;

  // "" if the health service does not know the name, else "SERVING" or "NOT_SERVING".
  std::string Health(const std::string& service);

  // The value of a counter or gauge, labels as in `name{a="b"}`; 0 if it is not there.
  double Metric(const std::string& name) const;

  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  ServerMetrics metrics{*registry};
  RealClock clock;
  BrokenExecutor executor;
  ModelRegistry models;
  Admission admission;
  EngineThread engine;
  RecordingLog log;
  std::unique_ptr<Authenticator> authenticator;
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::ImageGeneration::Stub> stub;
};

google::rpc::Status DetailsOf(const grpc::Status& status);
// Returns the reason in the details of `status`; empty if there is none.
std::string ReasonOf(const grpc::Status& status);
bool HasRetryInfo(const grpc::Status& status);
std::vector<std::string> FieldsOf(const grpc::Status& status);

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_SERVER_RPC_SERVER_HARNESS_H_
