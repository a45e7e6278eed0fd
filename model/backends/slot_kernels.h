#ifndef SKIPSTREAM_MODEL_BACKENDS_SLOT_KERNELS_H_
#define SKIPSTREAM_MODEL_BACKENDS_SLOT_KERNELS_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "model/diffusion/slot_update.h"
#include "model/extent.h"

namespace skipstream {

// Names what an evaluation reads of its rows and writes, in the device's memory.
struct RowTask {
  const RowDescriptor* rows = nullptr;
  const SlotUpdate* updates = nullptr;
  int64_t count = 0;  // of either
  Extent shape;
};

// Moves values between the registers of slots, networks and images. Tensors of the device. The
// functions throw c10::Error.
class SlotKernels {
 public:
  virtual ~SlotKernels() = default;

  // x [B, H, W, C] = c_in * eval, c_noise [B], one-hot labels [B, classes] (undefined: none); all
  // float32. Rows that only fill the batch are zero.
  virtual void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
                      const at::Tensor& labels) = 0;
  // UpdateElement() of every element of every update with f [B, H, W, C or more]; failures int32
  // [B] of each update are set.
  virtual void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) = 0;
  // PixelOf() of values [C, H, W], as uint8 [H * W, C].
  virtual at::Tensor ToImage(const at::Tensor& values, Extent shape) = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_SLOT_KERNELS_H_
