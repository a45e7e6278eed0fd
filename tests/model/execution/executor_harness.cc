#include "tests/model/execution/executor_harness.h"

#include <utility>

#include "gtest/gtest.h"
#include "model/backends/cpu/cpu_backend.h"
#include "tests/model/backends/host_backend.h"
#include "tests/model/files/editable_model.h"

#ifdef SKIPSTREAM_TEST_KERNELS
#include "tests/model/backends/cuda/kernel_backend_under_test.h"
#endif

namespace skipstream {

PlanPtr MakePlan(Solver solver, int nfe, double rho, double s_churn) {
  SamplingParams params;
  params.solver = solver;
  params.levels =
      *SpacedLevels(KarrasSpacing{}, *LevelsForNfe(solver, FinalLevel::kZero, nfe), 0.002, 80.0);
  params.churn.s_churn = s_churn;
  params.skip_tuning.depth = UniformDepth{rho};
  params.num_skips = 9;
  absl::StatusOr<SamplingPlan> plan = CompilePlan(params);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return std::make_shared<const SamplingPlan>(*std::move(plan));
}

namespace {

std::unique_ptr<Backend> MakeBackend(TestedExecutor tested, const ExecutorOptions& options) {
  if (tested == TestedExecutor::kCpu) {
    return std::make_unique<CpuBackend>(
        CpuBackend::Options{.threads = options.threads,
                            .kernels = options.kernels,
                            .precision = options.precision,
                            .deterministic = options.deterministic});
  }
#ifdef SKIPSTREAM_TEST_KERNELS
  if (tested == TestedExecutor::kKernels) {
    return MakeKernelBackend(options.precision.value_or(Precision::kBFloat16),
                             options.deterministic);
  }
#endif
  EXPECT_EQ(tested, TestedExecutor::kHost);
  return std::make_unique<HostBackend>(std::make_shared<HostDevice>(), options.precision,
                                       options.deterministic);
}

std::unique_ptr<BackendExecutor> MakeExecutor(TestedExecutor tested,
                                              const ExecutorOptions& options) {
  auto executor = BackendExecutor::Create(options, MakeBackend(tested, options));
  EXPECT_TRUE(executor.ok()) << executor.status();
  return *std::move(executor);
}

}  // namespace

std::string TestedExecutorName(const ::testing::TestParamInfo<TestedExecutor>& info) {
  switch (info.param) {
    case TestedExecutor::kCpu:
      return "Cpu";
    case TestedExecutor::kHost:
      return "Host";
    case TestedExecutor::kKernels:
      return "Kernels";
  }
  return "";
}

std::vector<TestedExecutor> TestedExecutors() {
#ifdef SKIPSTREAM_TEST_KERNELS
  return {TestedExecutor::kKernels};
#else
  return {TestedExecutor::kCpu, TestedExecutor::kHost};
#endif
}

ExecutorHarness::ExecutorHarness(TestedExecutor tested, const ExecutorOptions& options)
    : ExecutorHarness(MakeExecutor(tested, options)) {}

ExecutorHarness::ExecutorHarness(std::unique_ptr<BackendExecutor> executor)
    : executor_(std::move(executor)) {
  executor_->SetListener(&listener_);
  const auto network = executor_->LoadNetwork(kDdpmppEdmFixture, "param.");
  EXPECT_TRUE(network.ok()) << network.status();
  network_ = *network;
}

SlotId ExecutorHarness::Allocate(const Sample& sample) {
  const auto slot = executor_->AllocateSlot({network_, sample.seed, sample.plan, sample.image});
  EXPECT_TRUE(slot.ok()) << slot.status();
  return slot.value_or(-1);
}

void ExecutorHarness::Submit(uint64_t id, std::vector<EvalRow> rows) {
  executor_->Submit({id, network_, std::move(rows)});
}

std::vector<std::vector<double>> ExecutorHarness::RunTogether(const std::vector<Sample>& samples) {
  std::vector<SlotId> slots;
  for (const Sample& sample : samples) slots.push_back(Allocate(sample));
  for (int step = 0;; ++step) {
    std::vector<EvalRow> rows;
    for (size_t i = 0; i < samples.size(); ++i) {
      if (step >= samples[i].plan->nfe()) continue;
      const int terms = static_cast<int>(samples[i].plan->steps[step].terms.size());
      for (int term = 0; term < terms; ++term) {
        rows.push_back({slots[i], samples[i].class_index, samples[i].plan, step, term});
      }
    }
    if (rows.empty()) break;
    Submit(next_batch_++, std::move(rows));
  }
  std::vector<std::vector<double>> images;
  for (SlotId slot : slots) {
    images.push_back(executor_->ReadRegister(slot, kBase));
    executor_->FreeSlot(slot);
  }
  return images;
}

}  // namespace skipstream
