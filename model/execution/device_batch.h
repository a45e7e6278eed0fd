// What the host tells a device to do with the rows of a batch. No LibTorch.
#ifndef SKIPSTREAM_MODEL_EXECUTION_DEVICE_BATCH_H_
#define SKIPSTREAM_MODEL_EXECUTION_DEVICE_BATCH_H_

#include <array>
#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/diffusion/preconditioning.h"
#include "model/diffusion/slot_update.h"
#include "model/diffusion/solver_step.h"
#include "model/executor.h"

namespace skipstream {

// One row and where the device has what belongs to it.
struct PlacedRow {
  const EvalRow* row = nullptr;
  size_t index = 0;  // in its batch
  double* registers = nullptr;
  const float* image = nullptr;  // with a mask
  const float* mask = nullptr;   // null: D is not masked
  const float* noise = nullptr;  // drawn for the row that applies a step which reads noise
};

// Rows of one slot become neighbours, in the order they came.
void GroupBySlot(std::vector<PlacedRow>& rows);

// One evaluation of `size` rows. What is not used fills it up and does nothing.
struct DeviceBatch {
  std::vector<RowDescriptor> rows;
  std::vector<SlotUpdate> updates;  // as many; the first num_updates are used
  std::vector<float> rho;           // [size, num_skips]
  size_t num_updates = 0;
};

// `rows`: grouped by slot, at most `size`.
DeviceBatch MakeDeviceBatch(absl::Span<const PlacedRow> rows, int size, Extent shape, int num_skips,
                            const Preconditioning& preconditioning);

// The sizes of evaluations that are prepared: 1, 2, 4, ... and `max`. The smallest one that holds
// `rows`, from 1 to max.
int BucketFor(int rows, int max);
// The size before this one: the largest power of two below; 0 before 1.
int SmallerBucket(int bucket);

// Which registers of a sample hold something once its submitted steps have run.
class WrittenRegisters {
 public:
  // A fresh sample: base and eval.
  void Reset();
  // Internal if the step reads a register nobody has written.
  absl::Status Apply(const SolverStep& step);
  bool Has(Register reg) const { return written_[reg]; }

 private:
  std::array<bool, kNumRegisters> written_{};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_DEVICE_BATCH_H_
