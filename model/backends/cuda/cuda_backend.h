// Runs on NVIDIA GPUs: LibTorch's CUDA operations, the kernels of model/backends/cuda/kernels.cu,
// CUDA graphs.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CUDA_CUDA_BACKEND_H_
#define SKIPSTREAM_MODEL_BACKENDS_CUDA_CUDA_BACKEND_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "model/backends/cuda/kernel_backend.h"
#include "model/network_form.h"

namespace skipstream {

struct CudaOptions {
  int index = 0;  // index of the GPU
  // Convolutions use algorithms that always give the same bytes; else those that are measured to be
  // the fastest.
  bool deterministic = false;
  // None: bfloat16, or float32 if `deterministic`.
  std::optional<Precision> precision = Precision::kFloat32;
};

// Returns the number of GPUs; 0 without a driver as well.
int NumCudaDevices();

// NotFound if there is no such GPU. Sets LibTorch's switches of the process: TF32 is off, so that
// float32 means float32, and products of bfloat16 add up in float32. Leaves the GPU current on the
// calling thread.
absl::StatusOr<std::unique_ptr<KernelBackend>> CreateCudaBackend(const CudaOptions& options);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CUDA_CUDA_BACKEND_H_
