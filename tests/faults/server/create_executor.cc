// Stands in for model/execution/create_executor.cc in a server that is otherwise the product's: the
// executor of the CPU with faults around it, armed through the socket that SKIPSTREAM_FAULTS names.
#include "model/execution/create_executor.h"

#include <cstdlib>
#include <memory>
#include <utility>

#include "tests/faults/server/fault_control.h"
#include "tests/faults/server/faulty_allocator.h"
#include "tests/testing/faulty_executor.h"

namespace skipstream {

absl::StatusOr<std::unique_ptr<Executor>> CreateExecutor(const std::string& /*devices*/,
                                                         const ExecutorOptions& options) {
  const char* const socket = std::getenv("SKIPSTREAM_FAULTS");
  if (socket == nullptr) return absl::InvalidArgumentError("SKIPSTREAM_FAULTS names no socket");
  InstallFaultyAllocator();
  ExecutorOptions complete = options;
  if (complete.max_batch == 0) complete.max_batch = kDefaultMaxBatchOnCpu;
  absl::StatusOr<std::unique_ptr<Executor>> executor = CreateCpuExecutor(complete);
  if (!executor.ok()) return executor.status();
  auto faulty = std::make_unique<FaultyExecutor>(*std::move(executor));
  // As long as the process; main asks for one executor.
  static const FaultControl* const control = new FaultControl(socket, *faulty);
  (void)control;
  return faulty;
}

}  // namespace skipstream
