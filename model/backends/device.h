#ifndef SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_
#define SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/time/time.h"

namespace skipstream {

// A place in the order of the device.
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

// Runs LibTorch and keeps an order: a thread that called Enter() queues, and everything queued by
// one thread takes effect in order. The functions throw c10::Error.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;
  virtual at::Device device() const = 0;

  // Evaluations are recorded in advance, for 1, 2, 4, ... and the largest number of rows, and
  // unused rows fill them up. False: evaluations have the rows they are given, and the body of a
  // graph runs at each replay.
  virtual bool pads_batches() const = 0;
  // Batches worth queueing. 1: an operation is done when its call returns.
  virtual int max_in_flight() const = 0;

  // From now on the calling thread works with this device.
  virtual void Enter() = 0;
  virtual std::unique_ptr<DeviceMark> Mark() = 0;
  // Runs `body`, whose every tensor lives on the device, and records the operations it queues;
  // or keeps it, if batches are not padded.
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
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_DEVICE_H_
