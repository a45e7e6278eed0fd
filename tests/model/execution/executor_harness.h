// An executor with a network and a listener, and the plans the tests run on it.
#ifndef SKIPSTREAM_TESTS_MODEL_EXECUTION_EXECUTOR_HARNESS_H_
#define SKIPSTREAM_TESTS_MODEL_EXECUTION_EXECUTOR_HARNESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/diffusion/sampler.h"
#include "model/execution/backend_executor.h"
#include "tests/model/execution/recording_listener.h"

namespace skipstream {

using PlanPtr = std::shared_ptr<const SamplingPlan>;

// A Karras plan for a network of 9 skips.
PlanPtr MakePlan(Solver solver, int nfe, double rho, double s_churn = 0.0);

// A sample to run: what a request would say of it.
struct Sample {
  uint64_t seed = 0;
  int class_index = -1;
  PlanPtr plan;
  std::shared_ptr<const InitImage> image = nullptr;
};

enum class TestedExecutor {
  kCpu,   // with CpuBackend
  kHost,  // with HostBackend, in the way of a GPU
  // With the kernels of tests/model/backends/cuda/kernel_backend_under_test.h; only
  // in programs built with SKIPSTREAM_TEST_KERNELS.
  kKernels,
};
// Those this program tests.
std::vector<TestedExecutor> TestedExecutors();
std::string TestedExecutorName(const ::testing::TestParamInfo<TestedExecutor>& info);

class ExecutorHarness {
 public:
  explicit ExecutorHarness(TestedExecutor tested, const ExecutorOptions& options = {});
  explicit ExecutorHarness(std::unique_ptr<BackendExecutor> executor);

  SlotId Allocate(const Sample& sample);
  // Queues one row per (slot, sample, step) as batch `id`.
  void Submit(uint64_t id, std::vector<EvalRow> rows);

  // Runs the samples to their ends, all that are left in every batch with all terms of a step, in
  // this order, and returns their images.
  std::vector<std::vector<double>> RunTogether(const std::vector<Sample>& samples);
  std::vector<double> RunAlone(const Sample& sample) { return RunTogether({sample})[0]; }

  BackendExecutor& executor() { return *executor_; }
  NetworkId network() const { return network_; }
  RecordingListener& listener() { return listener_; }
  // Destroys the executor, which waits for everything submitted.
  void DestroyExecutor() { executor_.reset(); }

 private:
  RecordingListener listener_;
  std::unique_ptr<BackendExecutor> executor_;
  NetworkId network_ = 0;
  uint64_t next_batch_ = 1000;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_EXECUTION_EXECUTOR_HARNESS_H_
