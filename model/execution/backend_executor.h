// Runs networks on one Backend. One thread prepares and queues every operation, in order. With a
// backend that works on its own, a second thread waits for it and reports, so that the next
// evaluation is queued while one runs.
#ifndef SKIPSTREAM_MODEL_EXECUTION_BACKEND_EXECUTOR_H_
#define SKIPSTREAM_MODEL_EXECUTION_BACKEND_EXECUTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/backends/backend.h"
#include "model/execution/device_batch.h"
#include "model/execution/evaluator.h"
#include "model/execution/executor_options.h"
#include "model/execution/network.h"
#include "model/execution/noise_source.h"
#include "model/execution/operation_stream.h"
#include "model/execution/row_checks.h"
#include "model/executor.h"

namespace skipstream {

class BackendExecutor final : public Executor {
 public:
  // InvalidArgument, naming the option, if one is out of range or the backend cannot follow it.
  static absl::StatusOr<std::unique_ptr<BackendExecutor>> Create(const ExecutorOptions& options,
                                                                 std::unique_ptr<Backend> backend);
  ~BackendExecutor() override;

  void SetListener(ExecutorListener* listener) override { listener_ = listener; }
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) override;
  NetworkInfo GetNetworkInfo(NetworkId network) const override;
  void UnloadNetwork(NetworkId network) override;
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override;
  PrecisionChoice precision() const override { return backend_->precision(); }
  int max_batch() const override { return options_.max_batch; }
  int num_slots() const override { return options_.num_slots; }
  int max_in_flight() const override { return backend_->max_in_flight(); }
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override;
  void FreeSlot(SlotId slot) override;
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

  // --- Beyond the seam, for parity checks ---

  // A network whose parameter names begin with `prefix`.
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path, const std::string& prefix);
  // A slot that starts from these latents [C, H, W] instead of its seed's.
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init, std::vector<double> latents);
  // A register once everything submitted before has run; empty if nothing wrote it.
  std::vector<double> ReadRegister(SlotId slot, Register reg);

 private:
  // The fate of a sample on the device. Belongs to the thread that reports.
  struct Outcome {
    absl::Status status;
  };
  // Belongs to the thread that queues, which sees a slot as it will be once everything queued has
  // run; `status` holds only what was wrong before the device saw it.
  struct Slot : SlotState {
    std::optional<NoiseSource> noise;
    WrittenRegisters written;
    at::Tensor registers;  // [kSlotPlanes, C * H * W] float64
    at::Tensor image;      // with a mask
    at::Tensor mask;       // undefined: D is not masked
    std::shared_ptr<Outcome> outcome;
  };
  // A batch that was queued, or found wrong.
  struct Pending {
    StepBatch batch;
    absl::Status status;                             // of the whole
    std::vector<absl::Status> row_status;            // found before the device saw it
    std::vector<std::shared_ptr<Outcome>> outcomes;  // per row
    std::vector<Evaluator::Queued> evaluations;
    std::vector<at::Tensor> staged;  // read by the device until `end`
    std::unique_ptr<DeviceMark> begin;
    std::unique_ptr<DeviceMark> end;
  };

  BackendExecutor(const ExecutorOptions& options, std::unique_ptr<Backend> backend);

  std::shared_ptr<Network> FindNetwork(NetworkId network) const;
  // May throw what LibTorch throws.
  absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path, const std::string& prefix);
  // Records all graphs of a network, operation by operation, so that others have their turns.
  void PrepareGraphs(Network& network);
  // Runs an operation and throws what it throws.
  void RunThrowing(const std::function<void()>& operation);
  // Runs what waits for the device: on the reporting thread, or at once if there is nothing to
  // wait for.
  void Report(std::function<void()> report);

  // --- Operations: on the queueing thread ---

  Slot* FindSlot(SlotId slot);
  // Throws.
  void InitializeSlot(Slot& slot, const SlotInit& init, std::vector<double> latents);
  std::shared_ptr<Pending> Queue(StepBatch batch, Network* network);
  void QueueRows(Network& network, Pending& pending);
  // Draws the noise of the row's step and checks what the step reads.
  absl::Status PrepareRow(const EvalRow& row, Slot& slot, PlacedRow& placed,
                          std::vector<at::Tensor>& staged);
  Evaluator& EvaluatorOf(Network& network);
  // Waits until the device has used the network's graphs for the last time.
  void DropEvaluator(const Network& network);
  // Copies host memory to the device without waiting.
  at::Tensor Upload(const void* data, int64_t bytes, std::vector<at::Tensor>& staged);
  void QueueReadOut(uint64_t id, SlotId slot, ReadOutKind kind);
  // Fails the sample of every row: rows of theirs may be queued behind this batch, and must not
  // fail the batches they are in.
  void FailSamples(const StepBatch& batch, const absl::Status& status);

  // --- On the reporting thread ---

  BatchResult Finish(Pending& pending);

  const ExecutorOptions options_;
  const std::unique_ptr<Backend> backend_;
  ExecutorListener* listener_ = nullptr;

  mutable std::mutex networks_mutex_;
  std::map<NetworkId, std::shared_ptr<Network>> networks_;  // guarded by networks_mutex_
  NetworkId next_network_ = 1;                              // guarded by networks_mutex_

  std::vector<SlotId> free_slots_;  // of the calling thread, ahead of the queueing thread's view
  std::vector<Slot> slots_;
  std::map<const Network*, Evaluator> evaluators_;

  OperationStream stream_;                  // the queueing thread
  std::optional<OperationStream> reports_;  // the reporting thread, if there is something to await
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_BACKEND_EXECUTOR_H_
