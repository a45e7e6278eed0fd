// Implements the executor on a CPU. One worker thread stands for the device and runs every slot
// operation in order; LibTorch's own threads help it inside an evaluation.
#ifndef SKIPSTREAM_MODEL_EXECUTION_CPU_EXECUTOR_H_
#define SKIPSTREAM_MODEL_EXECUTION_CPU_EXECUTOR_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/execution/network.h"
#include "model/execution/noise_source.h"
#include "model/execution/slots.h"
#include "model/execution/torch_executor_base.h"

namespace skipstream {

class CpuExecutor final : public TorchExecutorBase {
 public:
  static absl::StatusOr<std::unique_ptr<CpuExecutor>> Create(const ExecutorOptions& options);
  ~CpuExecutor() override { stream_.Stop(); }

  int max_in_flight() const override { return 1; }
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

  std::vector<double> ReadRegister(SlotId slot, Register reg) override;

 private:
  // Only operations touch these.
  struct Slot : SlotState {
    std::optional<NoiseSource> noise;
    std::shared_ptr<const InitImage> image;
    SlotRegisters registers;
  };

  explicit CpuExecutor(const ExecutorOptions& options);
  absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path,
                                                const std::string& prefix) override;
  // Returns the rows that an evaluation of `rows` rows is computed with, filling rows included.
  int64_t BatchSize(const Network& network, int64_t rows) const;

  // Operations, on the worker.
  SlotState* FindSlot(SlotId slot) override;
  void InitializeSlot(SlotId slot, const NetworkInfo& info, const SlotInit& init,
                      std::vector<double> latents) override;
  void ReleaseSlot(SlotId slot) override;
  absl::Duration TimeEvaluation(Network& network, int rows) override;
  void ForgetNetwork(const std::shared_ptr<Network>& /*network*/) override {}
  BatchResult RunBatch(const StepBatch& batch, const Network* network);
  void Evaluate(const StepBatch& batch, const Network& network,
                std::vector<absl::Status>* row_status);
  absl::Status FinishRow(const EvalRow& row, absl::Span<const float> denoised);
  ReadOutResult RunReadOut(uint64_t id, SlotId slot, ReadOutKind kind);

  const Precision precision_;  // of networks that have such a form
  std::vector<Slot> slots_;    // used by the worker only
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_CPU_EXECUTOR_H_
