// Creates the executor for the devices that a user names. No LibTorch header is needed to use it.
#ifndef SKIPSTREAM_MODEL_EXECUTION_CREATE_EXECUTOR_H_
#define SKIPSTREAM_MODEL_EXECUTION_CREATE_EXECUTOR_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/execution/executor_options.h"
#include "model/executor.h"

namespace skipstream {

// Default rows per batch: more than enough for a CPU, and about where a GPU's throughput levels
// off.
inline constexpr int kDefaultMaxBatchOnCpu = 16;
inline constexpr int kDefaultMaxBatchOnGpu = 64;

// Creates the executor for `devices`, in the form that ParseDevices() reads. options.max_batch 0
// means one of the defaults above. Several GPUs are replicas, each with options.max_batch rows and
// options.num_slots slots. InvalidArgument or NotFound if a device is not there, or an option is
// out of range; Unimplemented for GPUs in a build without CUDA.
absl::StatusOr<std::unique_ptr<Executor>> CreateExecutor(const std::string& devices,
                                                         const ExecutorOptions& options);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_CREATE_EXECUTOR_H_
