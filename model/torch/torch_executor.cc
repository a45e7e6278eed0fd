#include "model/torch/torch_executor.h"

#include <utility>

#include "model/torch/cpu_executor.h"

namespace skipstream {

absl::StatusOr<std::unique_ptr<StepExecutor>> CreateTorchExecutor(
    const TorchExecutorOptions& options) {
  absl::StatusOr<std::unique_ptr<CpuExecutor>> executor = CpuExecutor::Create(options);
  if (!executor.ok()) return executor.status();
  return std::unique_ptr<StepExecutor>(*std::move(executor));
}

}  // namespace skipstream
