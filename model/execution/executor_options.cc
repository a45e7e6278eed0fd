#include "model/execution/executor_options.h"

#include <utility>

#include "model/backends/cpu/cpu_backend.h"
#include "model/execution/backend_executor.h"

namespace skipstream {

absl::StatusOr<std::unique_ptr<Executor>> CreateCpuExecutor(const ExecutorOptions& options) {
  return BackendExecutor::Create(options, std::make_unique<CpuBackend>(CpuBackend::Options{
                                              .threads = options.threads,
                                              .kernels = options.kernels,
                                              .precision = options.precision,
                                              .deterministic = options.deterministic}));
}

}  // namespace skipstream
