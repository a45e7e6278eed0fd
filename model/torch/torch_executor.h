// Makes the StepExecutor that runs networks with LibTorch. No LibTorch header is needed to use it.
#ifndef SKIPSTREAM_MODEL_TORCH_TORCH_EXECUTOR_H_
#define SKIPSTREAM_MODEL_TORCH_TORCH_EXECUTOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "model/step_executor.h"

namespace skipstream {

struct TorchExecutorOptions {
  int max_batch = 16;  // rows per evaluation, 1 to 4096
  int num_slots = 64;  // samples in flight, 1 to 65536
  int threads = 0;     // of LibTorch; 0: all cores
  // Every evaluation has max_batch rows, the unused ones filled up: a sample's result is then the
  // same to the last bit whatever shares its batches. Costs a full batch for every evaluation.
  bool deterministic = false;
};

// InvalidArgument, naming the option, if one is out of range.
absl::StatusOr<std::unique_ptr<StepExecutor>> CreateTorchExecutor(
    const TorchExecutorOptions& options);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_TORCH_TORCH_EXECUTOR_H_
