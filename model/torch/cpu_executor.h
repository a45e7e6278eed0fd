// StepExecutor on a CPU: one worker thread stands for the device and runs every slot operation in
// order; LibTorch's own threads help it inside an evaluation.
//
// A CUDA executor is a second implementation of the same seam: it keeps the registers in tensors on
// the device and enqueues on a stream where this one posts to its OperationStream; networks, noise
// (always drawn on the CPU) and the checks of rows are shared.
#ifndef SKIPSTREAM_MODEL_TORCH_CPU_EXECUTOR_H_
#define SKIPSTREAM_MODEL_TORCH_CPU_EXECUTOR_H_

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "model/network/network.h"
#include "model/torch/noise_source.h"
#include "model/torch/operation_stream.h"
#include "model/torch/row_checks.h"
#include "model/torch/slots.h"
#include "model/torch/torch_executor.h"

namespace skipstream {

class CpuExecutor final : public StepExecutor {
 public:
  static absl::StatusOr<std::unique_ptr<CpuExecutor>> Create(const TorchExecutorOptions& options);
  ~CpuExecutor() override = default;

  void SetListener(ExecutorListener* listener) override;
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) override;
  NetworkInfo GetNetworkInfo(NetworkId network) const override;
  void UnloadNetwork(NetworkId network) override;
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override;
  int max_batch() const override { return options_.max_batch; }
  int num_slots() const override { return options_.num_slots; }
  int max_in_flight() const override { return 1; }
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override;
  void FreeSlot(SlotId slot) override;
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

  // --- Beyond the seam, for parity checks ---

  // A network whose parameter names begin with `prefix`.
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path, const std::string& prefix);
  // A slot that starts from these latents [C, H, W] instead of its seed's.
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init, std::vector<double> latents);
  // A register as it is once everything submitted before has run; empty if nothing wrote it.
  std::vector<double> ReadRegister(SlotId slot, Register reg);

 private:
  // Only operations touch these.
  struct Slot : SlotState {
    std::optional<NoiseSource> noise;
    std::shared_ptr<const GivenImage> image;
    SlotRegisters registers;
  };

  explicit CpuExecutor(const TorchExecutorOptions& options);
  // In the form the options ask for.
  absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path, const std::string& prefix);
  // How many rows an evaluation of so many is computed with.
  int64_t BatchSize(const Network& network, int64_t rows) const;
  std::shared_ptr<const Network> FindNetwork(NetworkId network) const;

  const Slot* FindSlot(SlotId slot) const;  // null if out of range

  // Operations, on the worker.
  void InitializeSlot(Slot& slot, const NetworkInfo& info, const SlotInit& init,
                      std::vector<double> latents);
  BatchResult RunBatch(const StepBatch& batch, const Network* network);
  void Evaluate(const StepBatch& batch, const Network& network,
                std::vector<absl::Status>* row_status);
  absl::Status FinishRow(const EvalRow& row, absl::Span<const float> denoised);
  ReadOutResult RunReadOut(uint64_t id, SlotId slot, ReadOutKind kind) const;
  absl::StatusOr<std::vector<BucketTiming>> MeasureBuckets(const Network& network,
                                                           absl::Duration budget) const;

  const TorchExecutorOptions options_;
  const Precision precision_;  // of networks that have such a form
  ExecutorListener* listener_ = nullptr;

  mutable std::mutex networks_mutex_;
  std::map<NetworkId, std::shared_ptr<const Network>> networks_;  // guarded by networks_mutex_
  NetworkId next_network_ = 1;                                    // guarded by networks_mutex_

  std::vector<SlotId> free_slots_;  // of the calling thread, ahead of the worker's view
  std::vector<Slot> slots_;         // of the worker

  OperationStream stream_;  // last: drained before anything above goes
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_TORCH_CPU_EXECUTOR_H_
