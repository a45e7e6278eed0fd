#ifndef SKIPSTREAM_MODEL_BACKENDS_UNET_KERNELS_H_
#define SKIPSTREAM_MODEL_BACKENDS_UNET_KERNELS_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "model/nn/resample.h"

namespace skipstream {

// Features of a batch [B, H, W, C], contiguous, with what group norms need to know of them.
struct DeviceFeature {
  at::Tensor x;
  at::Tensor sums;  // float32 [B, 2, C]: per channel of an image, of the values and their squares
};

// A group norm over the channels of `x` and, behind them, those of `skip`; then, if asked for, SiLU
// and a change of resolution (a copy to 2x2 pixels, or an average of them).
struct NormTask {
  const DeviceFeature* x = nullptr;
  const DeviceFeature* skip = nullptr;  // null: none
  at::Tensor rho;                       // float32 [B], strided: times `skip`
  // Float32 [B, C] or [1, C], rows strided: added to x before the norm; the sums of x have it.
  // Undefined: nothing. Not with a skip.
  at::Tensor added;
  at::Tensor weight;  // float32 [C]
  at::Tensor bias;
  at::Tensor
      scale;  // float32 [B, C], rows strided: times 1 + scale, plus shift. Undefined: neither
  at::Tensor shift;
  int64_t groups = 1;
  float epsilon = 0.0f;
  bool silu = true;
  Resample resample = Resample::kNone;
  at::ScalarType type = at::kFloat;  // of the result
};

// (main + bias + shortcut + rho * second) * scale.
struct SumTask {
  at::Tensor main;      // [B, H, W, C]
  at::Tensor bias;      // float32 [C]
  at::Tensor shortcut;  // [B, H, W, C], or of the resolution before `resample`
  at::Tensor second;    // [B, H, W, C]; undefined: none
  at::Tensor rho;       // float32 [B], strided
  Resample resample = Resample::kNone;
  float scale = 1.0f;
};

// Computes what LibTorch has no operation for in a UNet. Tensors of the device; features in float32
// or bfloat16. The functions throw c10::Error.
class UNetKernels {
 public:
  virtual ~UNetKernels() = default;

  virtual at::Tensor Normalize(const NormTask& task) = 0;
  virtual DeviceFeature Sum(const SumTask& task) = 0;
  // The sums of x [B, H, W, C] + added (NormTask).
  virtual DeviceFeature Measure(at::Tensor x, const at::Tensor& added) = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_UNET_KERNELS_H_
