#include "model/cuda/executor_on.h"

#include <memory>
#include <utility>
#include <vector>

#include "model/device_list.h"

#ifdef SKIPSTREAM_CUDA
#include "model/cuda/cuda_backend.h"
#include "model/device/device_executor.h"
#include "model/replica_executor.h"
#endif

namespace skipstream {
namespace {

#ifdef SKIPSTREAM_CUDA
absl::StatusOr<std::unique_ptr<StepExecutor>> CreateOnGpus(const std::vector<int>& gpus,
                                                           const TorchExecutorOptions& options) {
  std::vector<std::unique_ptr<StepExecutor>> replicas;
  for (const int gpu : gpus) {
    absl::StatusOr<std::unique_ptr<DeviceBackend>> backend =
        CreateCudaBackend({.index = gpu, .deterministic = options.deterministic});
    if (!backend.ok()) return backend.status();
    absl::StatusOr<std::unique_ptr<DeviceExecutor>> executor =
        DeviceExecutor::Create(options, *std::move(backend));
    if (!executor.ok()) return executor.status();
    replicas.push_back(*std::move(executor));
  }
  if (replicas.size() == 1) return std::move(replicas.front());
  return std::make_unique<ReplicaExecutor>(std::move(replicas));
}
#else
int NumCudaDevices() { return 0; }

absl::StatusOr<std::unique_ptr<StepExecutor>> CreateOnGpus(
    const std::vector<int>& /*gpus*/, const TorchExecutorOptions& /*options*/) {
  return absl::InternalError("this build has no GPUs to name");
}
#endif

}  // namespace

absl::StatusOr<std::unique_ptr<StepExecutor>> CreateExecutorOn(
    const std::string& devices, const TorchExecutorOptions& options) {
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
  TorchExecutorOptions complete = options;
  if (complete.max_batch == 0) {
    complete.max_batch = gpus->empty() ? kDefaultMaxBatchOnCpu : kDefaultMaxBatchOnGpu;
  }
  return gpus->empty() ? CreateTorchExecutor(complete) : CreateOnGpus(*gpus, complete);
}

}  // namespace skipstream
