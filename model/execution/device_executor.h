// Implements the executor on a device with its own memory (DeviceBackend). The registers of slots
// live there. An evaluation, from gathering the rows to applying their steps, is one recorded graph
// per size of batch. One thread prepares and queues, a second one waits for the device and reports,
// so that the next evaluation is queued while one runs.
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
  // Creates the executor. InvalidArgument, naming the option, if one is out of range.
  // `options.threads` is not used.
  static absl::StatusOr<std::unique_ptr<DeviceExecutor>> Create(
      const ExecutorOptions& options, std::unique_ptr<DeviceBackend> backend);
  ~DeviceExecutor() override;

  int max_in_flight() const override { return 2; }
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

  std::vector<double> ReadRegister(SlotId slot, Register reg) override;

 private:
  // Holds the outcome of a sample on the device. Used by the reporting thread.
  struct Outcome {
    absl::Status status;
  };
  // Holds the state that a slot has once everything queued has run; `status` covers only errors
  // found before the device runs the row. Used by the queueing thread.
  struct Slot : SlotState {
    std::optional<NoiseSource> noise;
    WrittenRegisters written;
    at::Tensor registers;  // [kSlotPlanes, C * H * W] float64
    at::Tensor image;      // set with a mask
    at::Tensor mask;       // undefined: D is not masked
    std::shared_ptr<Outcome> outcome;
  };
  // Holds the tensors that evaluations of a network read and write, always in the same place.
  struct Evaluator {
    at::Tensor inputs;  // uint8: descriptors, updates, rho
    at::Tensor x;
    at::Tensor c_noise;
    at::Tensor labels;  // undefined: no classes
    at::Tensor failures;
    std::map<int, std::unique_ptr<DeviceGraph>> graphs;  // by rows
    int largest = 0;                                     // rows of the largest graph
  };
  // Computes the offsets in bytes of the parts of Evaluator::inputs.
  struct InputLayout {
    InputLayout(int rows, int num_skips);
    int64_t updates = 0;
    int64_t rho = 0;
    int64_t bytes = 0;
  };
  // Holds one evaluation that was queued.
  struct Evaluation {
    std::vector<PlacedRow> rows;  // of the updates that were queued
    std::vector<size_t> update_of;
    at::Tensor failures;             // on the host, valid once the device has written it
    std::vector<at::Tensor> staged;  // buffers that the device copies from until then
  };
  // Holds a batch that was queued, or found wrong.
  struct Pending {
    StepBatch batch;
    absl::Status status;                             // of the whole batch
    std::vector<absl::Status> row_status;            // errors found before the device runs the row
    std::vector<std::shared_ptr<Outcome>> outcomes;  // per row
    std::vector<Evaluation> evaluations;
    std::vector<at::Tensor> staged;  // buffers that the device reads until `end`
    std::unique_ptr<DeviceMark> begin;
    std::unique_ptr<DeviceMark> end;
  };

  DeviceExecutor(const ExecutorOptions& options, std::unique_ptr<DeviceBackend> backend);

  absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path,
                                                const std::string& prefix) override;

  // Makes all graphs of a network, one operation each, so that other operations run in between.
  void PrepareGraphs(Network& network);
  // Runs an operation on the stream and throws what it throws.
  void RunThrowing(const std::function<void()>& operation);

  // Operations, on the queueing thread.
  SlotState* FindSlot(SlotId slot) override;
  void InitializeSlot(SlotId slot, const NetworkInfo& info, const SlotInit& init,
                      std::vector<double> latents) override;
  void ReleaseSlot(SlotId slot) override;
  absl::Duration TimeEvaluation(Network& network, int rows) override;
  void ForgetNetwork(const std::shared_ptr<Network>& network) override;
  // Drops the graphs of a network once the device has used them for the last time.
  void DropGraphs(const Network& network);
  std::shared_ptr<Pending> Queue(const StepBatch& batch, Network* network);
  void QueueRows(Network& network, Pending& pending);
  // Draws the noise that the row's step needs and checks the registers it reads.
  absl::Status PrepareRow(const EvalRow& row, Slot& slot, PlacedRow& placed,
                          std::vector<at::Tensor>& staged);
  Evaluator& EvaluatorOf(Network& network);
  // Makes the graph for `rows` rows, or for fewer if memory does not suffice; returns the rows that
  // it takes.
  int PrepareGraph(Network& network, Evaluator& evaluator, int rows);
  void Capture(Network& network, Evaluator& evaluator, int rows);
  int BucketOf(const Evaluator& evaluator, size_t rows) const;
  // Copies host memory to the device without waiting.
  at::Tensor Upload(const void* data, int64_t bytes, std::vector<at::Tensor>& staged);
  void QueueReadOut(uint64_t id, SlotId slot, ReadOutKind kind);

  // On the reporting thread.
  BatchResult Finish(Pending& pending);

  const Precision precision_;
  std::unique_ptr<DeviceBackend> backend_;
  std::vector<Slot> slots_;
  std::map<const Network*, Evaluator> evaluators_;

  OperationStream reports_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_DEVICE_EXECUTOR_H_
