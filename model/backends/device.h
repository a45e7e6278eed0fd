// The seam to a device that runs LibTorch: what LibTorch has no operation for, and the order in
// which the device does things. DeviceExecutor and DeviceUNet are written against it, so that both
// run, and are tested, on a CPU as well (tests/model/backends/host_backend.h).
//
// A thread that called Enter() queues; everything queued by one thread takes effect in order.
#ifndef SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_
#define SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/time/time.h"
#include "model/diffusion/slot_update.h"
#include "model/families/edm_unet/unet_topology.h"

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

// What an evaluation reads of its rows, in the device's memory, and writes.
struct RowTask {
  const RowDescriptor* rows = nullptr;
  const SlotUpdate* updates = nullptr;
  int64_t count = 0;  // of either
  Extent shape;
};

// A place in the order of the device.
class DeviceMark {
 public:
  virtual ~DeviceMark() = default;
  // Until the device is there. Any thread. Throws what went wrong on the device.
  virtual void Wait() = 0;
  // Between two marks the device has reached.
  virtual absl::Duration Since(const DeviceMark& earlier) const = 0;
};

// Recorded operations.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void Replay() = 0;
};

// Its functions throw c10::Error.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  virtual std::string name() const = 0;
  virtual at::Device device() const = 0;

  // From now on the calling thread works with this device.
  virtual void Enter() = 0;
  virtual std::unique_ptr<DeviceMark> Mark() = 0;
  // Runs `body`, whose every tensor lives on the device, and records what it queues; whatever body
  // refers to lives as long as the graph. Replays read and write the same memory. All graphs of a
  // backend share what memory they need in between.
  virtual std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) = 0;
  // Host memory the device copies from and to without waiting: uint8 [bytes].
  virtual at::Tensor HostBuffer(int64_t bytes) = 0;
  // Copies between such memory and the device's, or within it: as many bytes, contiguous. Made in
  // order and without waiting, so both live until a later mark has been reached.
  virtual void Copy(const at::Tensor& to, const at::Tensor& from) = 0;
  // Gives cached memory back before another try with less.
  virtual void ReleaseCache() = 0;

  // --- Of networks: tensors of the device, features in float32 or bfloat16 ---

  virtual at::Tensor Normalize(const NormTask& task) = 0;
  virtual DeviceFeature Sum(const SumTask& task) = 0;
  // The sums of x [B, H, W, C] + added (NormTask).
  virtual DeviceFeature Measure(at::Tensor x, const at::Tensor& added) = 0;

  // --- Of slots ---

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

#endif  // SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_
