// Prepares the rows of a batch on the host for a device. No LibTorch.
#ifndef SKIPSTREAM_MODEL_EXECUTION_DEVICE_BATCH_H_
#define SKIPSTREAM_MODEL_EXECUTION_DEVICE_BATCH_H_

#include <array>
#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/diffusion/slot_update.h"
#include "model/diffusion/solver_step.h"
#include "model/executor.h"

namespace skipstream {

// Holds one row and pointers to its data on the device.
struct PlacedRow {
  const EvalRow* row = nullptr;
  size_t index = 0;  // in its batch
  double* registers = nullptr;
  const float* image = nullptr;  // set with a mask
  const float* mask = nullptr;   // null: D is not masked
  const float* noise = nullptr;  // drawn for the row that applies a step which reads noise
};

// Makes rows of one slot neighbours, in the order they came.
void GroupBySlot(std::vector<PlacedRow>& rows);

// Holds one evaluation of `size` rows. Unused rows fill it up and change nothing.
struct DeviceBatch {
  std::vector<RowDescriptor> rows;
  std::vector<SlotUpdate> updates;  // `size` of them; the first num_updates are used
  std::vector<float> rho;           // [size, num_skips]
  size_t num_updates = 0;
};

// Makes an evaluation of `rows`, which are grouped by slot and at most `size`.
DeviceBatch MakeDeviceBatch(absl::Span<const PlacedRow> rows, int size, Extent shape,
                            int num_skips);

// Returns the smallest prepared size of an evaluation that holds `rows`, which is from 1 to max.
// The sizes are 1, 2, 4, ... and `max`.
int BucketFor(int rows, int max);
// Returns the size before this one: the largest power of two below; 0 before 1.
int SmallerBucket(int bucket);

// Tracks which registers of a sample are written once its submitted steps have run.
class WrittenRegisters {
 public:
  // Starts a fresh sample, whose written registers are base and eval.
  void Reset();
  // Returns Internal if the step reads a register that was never written.
  absl::Status Apply(const SolverStep& step);
  bool Has(Register reg) const { return written_[reg]; }

 private:
  std::array<bool, kNumRegisters> written_{};
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_DEVICE_BATCH_H_
