// Separates DeviceExecutor and DeviceUNet from the device that runs LibTorch: operations that
// LibTorch lacks, and the order in which the device runs them. Thus both run, and are tested, on a
// CPU as well (tests/model/backends/host_backend.h).
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

// Holds features of a batch [B, H, W, C], contiguous, with the sums that group norms need.
struct DeviceFeature {
  at::Tensor x;
  at::Tensor sums;  // float32 [B, 2, C]: per channel of an image, of the values and their squares
};

// Describes a group norm over the channels of `x` and, behind them, those of `skip`. SiLU and a
// change of resolution follow if asked for (a copy to 2x2 pixels, or an average of them).
struct NormTask {
  const DeviceFeature* x = nullptr;
  const DeviceFeature* skip = nullptr;  // null: none
  at::Tensor rho;                       // float32 [B], strided: factor of `skip`
  // Float32 [B, C] or [1, C], rows strided: added to x before the norm, and already included in its
  // sums. Undefined: nothing. Not with a skip.
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

// Describes (main + bias + shortcut + rho * second) * scale.
struct SumTask {
  at::Tensor main;      // [B, H, W, C]
  at::Tensor bias;      // float32 [C]
  at::Tensor shortcut;  // [B, H, W, C], or of the resolution before `resample`
  at::Tensor second;    // [B, H, W, C]; undefined: none
  at::Tensor rho;       // float32 [B], strided
  Resample resample = Resample::kNone;
  float scale = 1.0f;
};

// Points to the descriptors of an evaluation's rows, in the device's memory.
struct RowTask {
  const RowDescriptor* rows = nullptr;
  const SlotUpdate* updates = nullptr;
  int64_t count = 0;  // of either
  Extent shape;
};

// Marks a position in the order of the device's operations.
class DeviceMark {
 public:
  virtual ~DeviceMark() = default;
  // Waits until the device has reached the mark. Any thread. Throws the device's error.
  virtual void Wait() = 0;
  // Returns the time between two marks that the device has reached.
  virtual absl::Duration Since(const DeviceMark& earlier) const = 0;
};

// Holds recorded operations.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void Replay() = 0;
};

// Runs operations on a device. Its functions throw c10::Error.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;

  virtual std::string name() const = 0;
  virtual at::Device device() const = 0;

  // Makes this device the calling thread's from now on.
  virtual void Enter() = 0;
  virtual std::unique_ptr<DeviceMark> Mark() = 0;
  // Runs `body`, whose every tensor lives on the device, and records the operations it queues.
  // Tensors that body refers to live as long as the graph. Replays read and write the same memory.
  // All graphs of a backend share the memory of intermediate results.
  virtual std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) = 0;
  // Allocates host memory that the device copies from and to without waiting: uint8 [bytes].
  virtual at::Tensor HostBuffer(int64_t bytes) = 0;
  // Copies between such memory and the device's, or within the device: the same number of bytes,
  // contiguous. The copy runs in order and without waiting, so both live until a later mark has
  // been reached.
  virtual void Copy(const at::Tensor& to, const at::Tensor& from) = 0;
  // Gives cached memory back to the device before another try with less.
  virtual void ReleaseCache() = 0;

  // --- Operations of networks: tensors of the device, features in float32 or bfloat16 ---

  virtual at::Tensor Normalize(const NormTask& task) = 0;
  virtual DeviceFeature Sum(const SumTask& task) = 0;
  // Returns x [B, H, W, C] with the sums of x + added (NormTask).
  virtual DeviceFeature Measure(at::Tensor x, const at::Tensor& added) = 0;

  // --- Operations on slots ---

  // Sets x [B, H, W, C] = c_in * eval, c_noise [B], one-hot labels [B, classes] (undefined: none);
  // all float32. Rows that only fill the batch become zero.
  virtual void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
                      const at::Tensor& labels) = 0;
  // Applies UpdateElement() to every element of every update with f [B, H, W, C or more]; sets
  // failures, int32 [B], of each update.
  virtual void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) = 0;
  // Returns PixelOf() of values [C, H, W], as uint8 [H * W, C].
  virtual at::Tensor ToImage(const at::Tensor& values, Extent shape) = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_
