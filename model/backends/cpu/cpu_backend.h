#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_CPU_BACKEND_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_CPU_BACKEND_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/backends/backend.h"
#include "model/backends/cpu/slot_update_loops.h"

namespace skipstream {

// Makes the UNet of a model on a CPU, fused or of LibTorch's operations, as `form` asks, and
// settles Kernels::kAuto in it. Unimplemented, saying why, if there is no such form.
absl::StatusOr<std::unique_ptr<UNet>> MakeCpuUNet(const ModelDescription& model,
                                                  ParameterSource& source, NetworkForm& form);

// Runs on the processor, in the memory of the host: every operation is done when its call returns.
class CpuBackend : public Backend {
 public:
  struct Options {
    int threads = 0;  // of evaluations; 0: all cores
    Kernels kernels = Kernels::kAuto;
    // None: the faster one of this CPU, and float32 for networks that have no other form; always
    // float32 if `deterministic`.
    std::optional<Precision> precision = Precision::kFloat32;
    bool deterministic = false;
  };
  explicit CpuBackend(const Options& options);

  std::string name() const override { return "the CPU"; }
  at::Device device() const override { return at::kCPU; }
  bool pads_batches() const override { return false; }
  int max_in_flight() const override { return 1; }
  // LibTorch's number of threads belongs to the thread that asks for work.
  void Enter() override;
  std::unique_ptr<DeviceMark> Mark() override;
  // Keeps `body` for the replays; does not run it.
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) override;
  at::Tensor HostBuffer(int64_t bytes) override;
  void Copy(const at::Tensor& to, const at::Tensor& from) override;
  void ReleaseCache() override {}

  void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
              const at::Tensor& labels) override;
  void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) override;
  at::Tensor ToImage(const at::Tensor& values, Extent shape) override;

  bool has_reference_kernels() const override { return true; }
  PrecisionChoice precision() const override { return precision_; }
  absl::StatusOr<std::unique_ptr<UNet>> MakeUNet(const ModelDescription& model,
                                                 ParameterSource& source,
                                                 NetworkForm& form) override;

 private:
  const Options options_;
  const PrecisionChoice precision_;
  cpu::UpdateScratch scratch_;  // of the thread that calls Update()
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_CPU_BACKEND_H_
