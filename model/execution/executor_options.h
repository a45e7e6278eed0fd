// Creates the Executor that runs networks with LibTorch. No LibTorch header is needed to use it.
#ifndef SKIPSTREAM_MODEL_EXECUTION_EXECUTOR_OPTIONS_H_
#define SKIPSTREAM_MODEL_EXECUTION_EXECUTOR_OPTIONS_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "model/executor.h"
#include "model/network_form.h"

namespace skipstream {

struct ExecutorOptions {
  int max_batch = 16;  // rows per evaluation, 1 to 4096
  int num_slots = 64;  // samples in flight, 1 to 65536
  int threads = 0;     // of evaluations on a CPU; 0: all cores
  // A sample's result is the same to the last bit whatever shares its batches. The fused kernels of
  // a CPU always guarantee this. With the reference kernels and on a GPU every evaluation then has
  // max_batch rows, the unused ones filled up, and costs a full batch.
  bool deterministic = false;
  Kernels kernels = Kernels::kAuto;
  // None: the faster one of this CPU (model/backends/cpu/cpu_features.h), and float32 for networks
  // without a form in bfloat16; bfloat16 on a GPU; always float32 if `deterministic`.
  std::optional<Precision> precision = Precision::kFloat32;
};

// Makes the executor on the CPU. InvalidArgument, naming the option, if one is out of range.
absl::StatusOr<std::unique_ptr<Executor>> CreateCpuExecutor(const ExecutorOptions& options);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_EXECUTOR_OPTIONS_H_
