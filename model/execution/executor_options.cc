#include "model/execution/executor_options.h"

#include <utility>

#include "model/execution/cpu_executor.h"

namespace skipstream {

absl::StatusOr<std::unique_ptr<Executor>> CreateTorchExecutor(const ExecutorOptions& options) {
  absl::StatusOr<std::unique_ptr<CpuExecutor>> executor = CpuExecutor::Create(options);
  if (!executor.ok()) return executor.status();
  return std::unique_ptr<Executor>(*std::move(executor));
}

}  // namespace skipstream
