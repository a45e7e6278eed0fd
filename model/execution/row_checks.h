// Checks rows before an executor touches a slot. Rows come from another layer, and one that does
// not fit must be an error and never undefined behaviour. No LibTorch.
#ifndef SKIPSTREAM_MODEL_EXECUTION_ROW_CHECKS_H_
#define SKIPSTREAM_MODEL_EXECUTION_ROW_CHECKS_H_

#include <functional>

#include "absl/status/status.h"
#include "model/executor.h"
#include "model/network_info.h"

namespace skipstream {

// Holds the device thread's state of a slot apart from its registers.
struct SlotState {
  bool live = false;    // between AllocateSlot and FreeSlot
  absl::Status status;  // not OK: the sample failed and every later row of it fails alone
  int channels = 0;
  int height = 0;
  int width = 0;
  int terms_done = 0;  // of the step being gathered
};

// Returns OK if the init image of a slot is there when the plan reads it, and has the shape of
// `info`; else InvalidArgument.
absl::Status CheckInitImage(const SlotInit& init, const NetworkInfo& info);

// Returns OK if a network like `info` can evaluate every row of `batch`; else InvalidArgument that
// names the first row it cannot. `find_slot` gives the state of an id, null for an id out of range.
absl::Status CheckBatch(const StepBatch& batch, int max_batch, const NetworkInfo& info,
                        const std::function<const SlotState*(SlotId)>& find_slot);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_ROW_CHECKS_H_
