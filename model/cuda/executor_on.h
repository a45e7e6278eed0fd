// Makes the executor for the devices a user names. No LibTorch header is needed to use it.
#ifndef SKIPSTREAM_MODEL_CUDA_EXECUTOR_ON_H_
#define SKIPSTREAM_MODEL_CUDA_EXECUTOR_ON_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/step_executor.h"
#include "model/torch/torch_executor.h"

namespace skipstream {

// Rows per batch where nobody says how many: more than enough for a CPU, and about where a GPU's
// throughput levels off.
inline constexpr int kDefaultMaxBatchOnCpu = 16;
inline constexpr int kDefaultMaxBatchOnGpu = 64;

// `devices`: as ParseDevices() says. options.max_batch 0: one of the above. Several GPUs are
// replicas, each with options.max_batch rows and options.num_slots slots. InvalidArgument or
// NotFound if a device is not there, or an option is out of range; Unimplemented for GPUs in a
// build without CUDA.
absl::StatusOr<std::unique_ptr<StepExecutor>> CreateExecutorOn(const std::string& devices,
                                                               const TorchExecutorOptions& options);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_CUDA_EXECUTOR_ON_H_
