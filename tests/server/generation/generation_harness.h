// Runs everything between a request and its subscriber but gRPC: a test can stop it at any point,
// and a thread sanitizer sees all of it.
#ifndef SKIPSTREAM_TESTS_SERVER_GENERATION_GENERATION_HARNESS_H_
#define SKIPSTREAM_TESTS_SERVER_GENERATION_GENERATION_HARNESS_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "prometheus/registry.h"
#include "server/engine/admission.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/generation/generate_environment.h"
#include "server/generation/idempotency_cache.h"
#include "server/generation/serve_request.h"
#include "server/metrics/metrics.h"
#include "tests/testing/broken_executor.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/recording_log.h"
#include "tests/testing/test_models.h"

namespace skipstream {

// A client and its stream: nothing leaves the server until the test reads it.
class TestCall final : public EventStream {
 public:
  TestCall(const std::shared_ptr<const GenerateEnvironment>& environment,
           const v1::GenerateRequest& request, const std::string& tenant, absl::Time deadline);
  ~TestCall() override;

  // Takes the next event; blocks until there is one. Nothing: the call has ended, see status().
  std::optional<v1::GenerateEvent> Read();
  // Reads until an event of this kind; fails the test if the call ends before.
  v1::GenerateEvent ReadUntil(v1::GenerateEvent::EventCase kind);
  std::vector<v1::GenerateEvent> ReadAll();
  // Reads to the end: "image 1" and so on, without progress and previews.
  std::vector<std::string> ReadKinds();
  absl::Status status();  // blocks until the call has ended
  // The client goes away.
  void Disconnect();

  void Write(const v1::GenerateEvent& event) override;
  void Finish(const absl::Status& status, const CallSummary& summary) override;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  const v1::GenerateEvent* writing_ = nullptr;
  std::optional<absl::Status> status_;
  // Last: the stream is used from here on.
  const std::shared_ptr<Subscriber> reader_;
  const ServedBy served_by_;
};

struct GenerationHarness {
  struct Options {
    // Manual unless said otherwise: the test runs the evaluations.
    PuppetExecutor::Options executor = {.info = FruitInfo()};
    Admission::Options admission;
    IdempotencyCache::Options results;
    size_t max_outbox_bytes = size_t{64} << 20;
  };
  explicit GenerationHarness(const Options& options);
  GenerationHarness() : GenerationHarness(Options()) {}

  std::unique_ptr<TestCall> Start(const std::string& request,
                                  absl::Time deadline = absl::InfiniteFuture(),
                                  const std::string& tenant = "default") {
    return std::make_unique<TestCall>(environment, Request(request), tenant, deadline);
  }
  // The engine's thread ends when the executor has reported everything.
  ~GenerationHarness() { SetAutomatic(); }

  // Lets evaluations run by themselves from now on.
  void SetAutomatic() {
    if (!std::exchange(automatic, true)) executor.SetAutomatic();
  }
  // Blocks until every image that the engine has delivered is with the subscribers.
  void WaitForEncoders();

  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  ServerMetrics metrics{*registry};
  FakeClock clock;
  bool automatic;
  BrokenExecutor executor;
  ModelRegistry models;
  Admission admission;
  EngineThread engine;
  IdempotencyCache generations;
  CallCounter calls;
  RecordingLog log;
  std::atomic<uint32_t> next_seed = 100;  // unseeded requests get different ones
  std::unique_ptr<WorkerPool> encoders = std::make_unique<WorkerPool>(1);
  std::shared_ptr<const GenerateEnvironment> environment;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_SERVER_GENERATION_GENERATION_HARNESS_H_
