// A DeviceBackend whose device is the CPU: plain LibTorch operations and loops, done at once. It
// says what the kernels of a GPU must compute, and runs everything above them in tests.
#ifndef SKIPSTREAM_TESTS_MODEL_BACKENDS_HOST_BACKEND_H_
#define SKIPSTREAM_TESTS_MODEL_BACKENDS_HOST_BACKEND_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "model/backends/device.h"

namespace skipstream {

// Controls the simulated device and counts its operations.
struct HostDevice {
  std::atomic<int> memory_for_rows = 1 << 20;  // larger evaluations run out of memory
  std::atomic<bool> lost = false;              // nothing that was queued completes
  std::atomic<int> captures = 0;
  std::atomic<int> replays = 0;
};

class HostBackend final : public DeviceBackend {
 public:
  explicit HostBackend(std::shared_ptr<HostDevice> state = std::make_shared<HostDevice>())
      : state_(std::move(state)) {}

  std::string name() const override { return "the host"; }
  at::Device device() const override { return at::kCPU; }
  void Enter() override {}
  std::unique_ptr<DeviceMark> Mark() override;
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) override;
  at::Tensor HostBuffer(int64_t bytes) override;
  void Copy(const at::Tensor& to, const at::Tensor& from) override;
  void ReleaseCache() override {}
  at::Tensor Normalize(const NormTask& task) override;
  DeviceFeature Sum(const SumTask& task) override;
  DeviceFeature Measure(at::Tensor x, const at::Tensor& added) override;
  void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
              const at::Tensor& labels) override;
  void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) override;
  at::Tensor ToImage(const at::Tensor& values, Extent shape) override;

 private:
  std::shared_ptr<HostDevice> state_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_BACKENDS_HOST_BACKEND_H_
