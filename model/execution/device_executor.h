// Executor on a device with its own memory (DeviceBackend): the registers of slots live there,
// and an evaluation, from gathering the rows to applying their steps, is one recorded graph per
// size of batch. One thread prepares and queues, a second one waits for the device and reports, so
// that the next evaluation is queued while one runs.
#ifndef SKIPSTREAM_MODEL_EXECUTION_DEVICE_EXECUTOR_H_
#define SKIPSTREAM_MODEL_EXECUTION_DEVICE_EXECUTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/backends/device.h"
#include "model/execution/device_batch.h"
#include "model/execution/noise_source.h"
#include "model/execution/operation_stream.h"
#include "model/execution/torch_executor_base.h"

namespace skipstream {

class DeviceExecutor final : public TorchExecutorBase {
 public:
  // InvalidArgument, naming the option, if one is out of range. `options.threads` is not used.
  static absl::StatusOr<std::unique_ptr<DeviceExecutor>> Create(
      const ExecutorOptions& options, std::unique_ptr<DeviceBackend> backend);
  ~DeviceExecutor() override;

  int max_in_flight() const override { return 2; }
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

  std::vector<double> ReadRegister(SlotId slot, Register reg) override;

 private:
  // How a sample fares on the device. Of the reporting thread.
  struct Outcome {
    absl::Status status;
  };
  // Of the queueing thread, as it will be once everything queued has run; `status` tells only what
  // was wrong before the device saw it.
  struct Slot : SlotState {
    std::optional<NoiseSource> noise;
    WrittenRegisters written;
    at::Tensor registers;  // [kSlotPlanes, C * H * W] float64
    at::Tensor image;      // with a mask
    at::Tensor mask;       // undefined: D is not masked
    std::shared_ptr<Outcome> outcome;
  };
  // What evaluations of a network read and write, always in the same place.
  struct Evaluator {
    at::Tensor inputs;  // uint8: descriptors, updates, rho
    at::Tensor x;
    at::Tensor c_noise;
    at::Tensor labels;  // undefined: no classes
    at::Tensor failures;
    std::map<int, std::unique_ptr<DeviceGraph>> graphs;  // by rows
    int largest = 0;                                     // rows there was memory for
  };
  // Where the parts of Evaluator::inputs begin.
  struct InputLayout {
    InputLayout(int rows, int num_skips);
    int64_t updates = 0;
    int64_t rho = 0;
    int64_t bytes = 0;
  };
  // One evaluation that was queued.
  struct Evaluation {
    std::vector<PlacedRow> rows;  // of the updates below
    std::vector<size_t> update_of;
    at::Tensor failures;             // on the host, once the device has been there
    std::vector<at::Tensor> staged;  // what the device copies from until then
  };
  // A batch that was queued, or found wrong.
  struct Pending {
    StepBatch batch;
    absl::Status status;                             // of the whole
    std::vector<absl::Status> row_status;            // found before the device saw it
    std::vector<std::shared_ptr<Outcome>> outcomes;  // per row
    std::vector<Evaluation> evaluations;
    std::vector<at::Tensor> staged;  // what the device reads until `end`
    std::unique_ptr<DeviceMark> begin;
    std::unique_ptr<DeviceMark> end;
  };

  DeviceExecutor(const ExecutorOptions& options, std::unique_ptr<DeviceBackend> backend);

  absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path,
                                                const std::string& prefix) override;

  // Makes all graphs of a network, operation by operation, so that others have their turns.
  void PrepareGraphs(Network& network);
  // Runs an operation and throws what it throws.
  void RunThrowing(const std::function<void()>& operation);

  // Operations, on the queueing thread.
  SlotState* FindSlot(SlotId slot) override;
  void InitializeSlot(SlotId slot, const NetworkInfo& info, const SlotInit& init,
                      std::vector<double> latents) override;
  void ReleaseSlot(SlotId slot) override;
  absl::Duration TimeEvaluation(Network& network, int rows) override;
  void ForgetNetwork(const std::shared_ptr<Network>& network) override;
  // Waits until the device has used them for the last time.
  void DropGraphs(const Network& network);
  std::shared_ptr<Pending> Queue(const StepBatch& batch, Network* network);
  void QueueRows(Network& network, Pending& pending);
  // Draws what the row's step needs and checks what it reads.
  absl::Status PrepareRow(const EvalRow& row, Slot& slot, PlacedRow& placed,
                          std::vector<at::Tensor>& staged);
  Evaluator& EvaluatorOf(Network& network);
  // Makes the graph for so many rows, or for as many as there is memory for; returns how many rows
  // it takes.
  int PrepareGraph(Network& network, Evaluator& evaluator, int rows);
  void Capture(Network& network, Evaluator& evaluator, int rows);
  int BucketOf(const Evaluator& evaluator, size_t rows) const;
  // A copy of host memory on the device, which is made without waiting.
  at::Tensor Upload(const void* data, int64_t bytes, std::vector<at::Tensor>& staged);
  void QueueReadOut(uint64_t id, SlotId slot, ReadOutKind kind);

  // On the reporting thread.
  BatchResult Finish(Pending& pending);

  std::unique_ptr<DeviceBackend> backend_;
  std::vector<Slot> slots_;
  std::map<const Network*, Evaluator> evaluators_;

  OperationStream reports_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_DEVICE_EXECUTOR_H_
