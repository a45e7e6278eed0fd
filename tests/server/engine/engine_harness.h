// An engine with a broken-on-command puppet executor and a fake clock, driven step by step.
#ifndef SKIPSTREAM_TESTS_SERVER_ENGINE_ENGINE_HARNESS_H_
#define SKIPSTREAM_TESTS_SERVER_ENGINE_ENGINE_HARNESS_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/diffusion/solver_step.h"
#include "prometheus/registry.h"
#include "server/engine/engine.h"
#include "server/metrics/metrics.h"
#include "tests/testing/broken_executor.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/recording_sink.h"

namespace skipstream {

// `nfe` steps of `terms` rows each; plans with another `rho` are different plans.
inline std::shared_ptr<const SamplingPlan> MakePlan(int nfe, int terms = 1, float rho = 1.0f) {
  auto plan = std::make_shared<SamplingPlan>();
  plan->initial.latent = 80.0;
  for (int i = 0; i < nfe; ++i) {
    SolverStep step;
    step.sigma = 80.0 / (i + 1);
    for (int t = 0; t < terms; ++t) {
      step.terms.push_back({.weight = 1.0 / terms,
                            .conditional = t == 0,
                            .conditioning_sigma = step.sigma,
                            .rho = std::vector<float>(4, rho)});
    }
    step.a[kNextBase][kDenoised] = 1.0;
    step.a[kNextEval][kDenoised] = 1.0;
    plan->steps.push_back(step);
  }
  return plan;
}

// Samples with these seeds; sample i is of class seed modulo 10.
inline std::vector<SampleSpec> Samples(const std::vector<uint64_t>& seeds) {
  std::vector<SampleSpec> samples;
  for (const uint64_t seed : seeds) samples.push_back({seed, static_cast<int>(seed % 10)});
  return samples;
}

// Returns a request of the default tenant for admission.
inline AdmissionRequest Wants(int64_t evaluations) {
  return {.tenant = std::make_shared<const Tenant>(), .evaluations = evaluations};
}

inline std::shared_ptr<const Tenant> TenantCalled(const std::string& name, double weight = 1.0) {
  return std::make_shared<const Tenant>(Tenant{.name = name, .weight = weight});
}

struct JobOptions {
  Priority priority = Priority::kNormal;
  int preview_every = 0;
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<const Tenant> tenant = std::make_shared<const Tenant>();
  AdmissionTicket ticket = {};
  std::shared_ptr<const LoadedModel> model = nullptr;  // the harness's
  std::shared_ptr<const LoadedModel> guide = nullptr;
};

// The listener of the executor is the engine itself; a batch moves the clock by the time it took.
class EngineHarness final : public ExecutorListener {
 public:
  explicit EngineHarness(PuppetExecutor::Options executor_options = {},
                         const Engine::Options& engine_options = {})
      : executor(std::move(executor_options)),
        metrics(registry),
        model(*LoadedModel::Load(executor, "puppet", "puppet.safetensors")),
        engine(engine_options, executor, clock, &metrics.engine) {
    executor.SetListener(this);
  }

  struct Handle {
    JobId id = 0;
    std::shared_ptr<RecordingSink> sink;

    RecordingSink::State state() const { return sink->state(); }
    std::optional<absl::Status> finished() const { return sink->state().finished; }
  };

  Handle Add(std::shared_ptr<const SamplingPlan> plan, const std::vector<uint64_t>& seeds,
             JobOptions options = {}) {
    Handle handle{++last_id_, std::make_shared<RecordingSink>()};
    engine.AddJob(handle.id, {.model = options.model ? options.model : model,
                              .guide = options.guide,
                              .plan = std::move(plan),
                              .samples = Samples(seeds),
                              .priority = options.priority,
                              .preview_every = options.preview_every,
                              .deadline = options.deadline,
                              .tenant = options.tenant,
                              .ticket = std::move(options.ticket),
                              .sink = handle.sink});
    return handle;
  }

  // Submits what can be submitted, then lets one batch (and what was queued before it) complete.
  // False if nothing was running.
  bool Tick() {
    engine.Step();
    return executor.CompleteBatch();
  }

  void RunUntilIdle() {
    engine.Step();
    while (executor.CompleteNext()) engine.Step();
  }

  void OnBatchDone(BatchResult result) override {
    clock.Advance(result.busy);
    engine.OnBatchDone(result);
  }
  void OnReadOut(ReadOutResult result) override { engine.OnReadOut(std::move(result)); }

  FakeClock clock;
  BrokenExecutor executor;
  prometheus::Registry registry;
  ServerMetrics metrics;
  std::shared_ptr<const LoadedModel> model;
  Engine engine;

 private:
  JobId last_id_ = 0;
};

// The seeds of the samples in a batch, in the order of its rows.
inline std::vector<uint64_t> Seeds(const PuppetExecutor::Call& batch) {
  std::vector<uint64_t> seeds;
  for (const PuppetExecutor::Row& row : batch.rows) seeds.push_back(row.seed);
  return seeds;
}

// The image that one sample of `plan` and `seed` becomes with nobody else around.
inline std::vector<uint8_t> ImageMadeAlone(std::shared_ptr<const SamplingPlan> plan,
                                           uint64_t seed) {
  EngineHarness alone;
  const EngineHarness::Handle job = alone.Add(std::move(plan), {seed});
  alone.RunUntilIdle();
  return job.state().images.at(0).data;
}

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_SERVER_ENGINE_ENGINE_HARNESS_H_
