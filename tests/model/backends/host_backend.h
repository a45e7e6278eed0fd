// Stands for a GPU in tests.
#ifndef SKIPSTREAM_TESTS_MODEL_BACKENDS_HOST_BACKEND_H_
#define SKIPSTREAM_TESTS_MODEL_BACKENDS_HOST_BACKEND_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "model/backends/cpu/cpu_backend.h"
#include "model/backends/unet_kernels.h"

namespace skipstream {

// Controls the simulated device and counts its operations.
struct HostDevice {
  std::atomic<int> no_memory_for_rows = 0;     // evaluations of this size alone run out of memory
  std::atomic<int> memory_for_rows = 1 << 20;  // larger evaluations run out of memory
  std::atomic<bool> lost = false;              // nothing that was queued completes
  std::atomic<int> captures = 0;
  std::atomic<int> replays = 0;
};

// Runs on the CPU in the way of a GPU: records evaluations of padded size, and computes networks as
// a DeviceUNet of plain LibTorch operations. It says what the kernels of a GPU must compute.
class HostBackend : public CpuBackend, public UNetKernels {
 public:
  // Precision none: bfloat16, or float32 if `deterministic`.
  explicit HostBackend(std::shared_ptr<HostDevice> state = std::make_shared<HostDevice>(),
                       std::optional<Precision> precision = Precision::kFloat32,
                       bool deterministic = false);

  std::string name() const override { return "the host"; }
  bool pads_batches() const override { return true; }
  int max_in_flight() const override { return 2; }
  void Enter() override {}
  std::unique_ptr<DeviceMark> Mark() override;
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) override;
  void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
              const at::Tensor& labels) override;
  // UpdateElement() of every element.
  void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) override;
  bool has_reference_kernels() const override { return false; }
  absl::StatusOr<std::unique_ptr<UNet>> MakeUNet(const ModelDescription& model,
                                                 ParameterSource& source,
                                                 NetworkForm& form) override;

  at::Tensor Normalize(const NormTask& task) override;
  DeviceFeature Sum(const SumTask& task) override;
  DeviceFeature Measure(at::Tensor x, const at::Tensor& added) override;

 private:
  std::shared_ptr<HostDevice> state_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_BACKENDS_HOST_BACKEND_H_
