// Implements the operations of a DeviceBackend that are kernels of model/backends/cuda/kernels.h. A
// derived class adds the device itself. No CUDA header.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_H_
#define SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_H_

#include "ATen/core/Tensor.h"
#include "model/backends/cuda/kernels.h"
#include "model/backends/device.h"

namespace skipstream {

class KernelBackend : public DeviceBackend {
 public:
  at::Tensor Normalize(const NormTask& task) final;
  DeviceFeature Sum(const SumTask& task) final;
  DeviceFeature Measure(at::Tensor x, const at::Tensor& added) final;
  void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
              const at::Tensor& labels) final;
  void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) final;
  at::Tensor ToImage(const at::Tensor& values, Extent shape) final;

 private:
  virtual CUstream_st* stream() const = 0;
  at::TensorOptions Options(at::ScalarType type) const;
  // Fills in the shape and the buffers that the sums need, and launches. Returns the sums.
  at::Tensor AddUp(cuda::Sum& sum, const at::Tensor& main);

  at::Tensor arrived_;  // counters of cuda::Sum
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_H_
