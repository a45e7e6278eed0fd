// Launches the kernels of model/backends/cuda/kernels.h. A derived class adds the device itself. No
// CUDA header.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_H_
#define SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_H_

#include <memory>
#include <utility>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "model/backends/backend.h"
#include "model/backends/cuda/kernels.h"
#include "model/backends/unet_kernels.h"

namespace skipstream {

class KernelBackend : public Backend, public UNetKernels {
 public:
  bool pads_batches() const final { return true; }
  int max_in_flight() const final { return 2; }

  bool has_reference_kernels() const final { return false; }
  PrecisionChoice precision() const final { return precision_; }
  // A DeviceUNet.
  absl::StatusOr<std::unique_ptr<UNet>> MakeUNet(const ModelDescription& model,
                                                 ParameterSource& source, NetworkForm& form) final;

  at::Tensor Normalize(const NormTask& task) final;
  DeviceFeature Sum(const SumTask& task) final;
  DeviceFeature Measure(at::Tensor x, const at::Tensor& added) final;
  void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
              const at::Tensor& labels) final;
  void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) final;
  at::Tensor ToImage(const at::Tensor& values, Extent shape) final;

 protected:
  explicit KernelBackend(PrecisionChoice precision) : precision_(std::move(precision)) {}

 private:
  virtual CUstream_st* stream() const = 0;
  at::TensorOptions Options(at::ScalarType type) const;
  // Fills in the shape and the buffers that the sums need, and launches. Returns the sums.
  at::Tensor AddUp(cuda::Sum& sum, const at::Tensor& main);

  const PrecisionChoice precision_;
  at::Tensor arrived_;  // of cuda::Sum
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_H_
