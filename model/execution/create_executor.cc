#include "model/execution/create_executor.h"

#include <memory>
#include <utility>
#include <vector>

#include "model/execution/device_list.h"

#ifdef SKIPSTREAM_CUDA
#include "model/backends/cuda/cuda_backend.h"
#include "model/execution/backend_executor.h"
#include "model/execution/replica_executor.h"
#endif

namespace skipstream {
namespace {

#ifdef SKIPSTREAM_CUDA
absl::StatusOr<std::unique_ptr<Executor>> CreateOnGpus(const std::vector<int>& gpus,
                                                       const ExecutorOptions& options) {
  std::vector<std::unique_ptr<Executor>> replicas;
  for (const int gpu : gpus) {
    absl::StatusOr<std::unique_ptr<KernelBackend>> backend = CreateCudaBackend(
        {.index = gpu, .deterministic = options.deterministic, .precision = options.precision});
    if (!backend.ok()) return backend.status();
    absl::StatusOr<std::unique_ptr<BackendExecutor>> executor =
        BackendExecutor::Create(options, *std::move(backend));
    if (!executor.ok()) return executor.status();
    replicas.push_back(*std::move(executor));
  }
  if (replicas.size() == 1) return std::move(replicas.front());
  return std::make_unique<ReplicaExecutor>(std::move(replicas));
}
#else
int NumCudaDevices() { return 0; }

absl::StatusOr<std::unique_ptr<Executor>> CreateOnGpus(const std::vector<int>& /*gpus*/,
                                                       const ExecutorOptions& /*options*/) {
  return absl::InternalError("this build has no GPUs to name");
}
#endif

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> CreateExecutor(const std::string& devices,
                                                         const ExecutorOptions& options) {
  const absl::StatusOr<std::vector<int>> gpus = ParseDevices(devices, NumCudaDevices());
  if (!gpus.ok()) {
#ifndef SKIPSTREAM_CUDA
    if (absl::IsNotFound(gpus.status())) {
      return absl::UnimplementedError(
          "this build has no CUDA executor (docs/operations.md says how to build one)");
    }
#endif
    return gpus.status();
  }
  ExecutorOptions complete = options;
  if (complete.max_batch == 0) {
    complete.max_batch = gpus->empty() ? kDefaultMaxBatchOnCpu : kDefaultMaxBatchOnGpu;
  }
  return gpus->empty() ? CreateCpuExecutor(complete) : CreateOnGpus(*gpus, complete);
}

}  // namespace skipstream
