#ifndef SKIPSTREAM_MODEL_EXECUTION_EVALUATOR_H_
#define SKIPSTREAM_MODEL_EXECUTION_EVALUATOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/backends/backend.h"
#include "model/execution/device_batch.h"
#include "model/execution/network.h"

namespace skipstream {

// Evaluates a network on the rows of slots: gathers them, runs the UNet, applies their steps. On a
// backend that pads batches each size is one recorded graph. For the thread that queues.
class Evaluator {
 public:
  // One evaluation that was queued.
  struct Queued {
    std::vector<PlacedRow> rows;
    std::vector<size_t> update_of;   // of each row: index in `failures`
    at::Tensor failures;             // int32, on the host once the device has been there
    std::vector<at::Tensor> staged;  // read by the device until then
  };

  // Evaluations have 1 to `max_rows` rows, or always `max_rows` if `one_size`. Backend and network
  // outlive the evaluator. Throws c10::Error.
  Evaluator(Backend& backend, Network& network, int max_rows, bool one_size);
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // Records the graph that takes up to `rows` rows, unless it is there. If memory runs out, a
  // larger one that exists stands in, else a smaller one is recorded. Returns how many rows the
  // graph takes. Throws c10::Error.
  int Prepare(size_t rows);

  // Queues an evaluation of the first rows, as many as Prepare() finds. `rows`: grouped by slot.
  // Appends to `queued` as soon as the device may read what is staged.
  void Queue(absl::Span<const PlacedRow> rows, std::vector<Queued>& queued);

  // Queues evaluations of `rows` rows that touch no slot, and measures them.
  absl::Duration Time(int rows);

 private:
  // Offsets of the parts of inputs_ in bytes.
  struct InputLayout {
    InputLayout(int rows, int num_skips);
    int64_t updates = 0;
    int64_t rho = 0;
    int64_t bytes = 0;
  };

  void Capture(int rows);
  void Evaluate(int rows);

  Backend& backend_;
  Network& network_;
  const Extent extent_;
  const int num_skips_;
  const bool one_size_;
  int largest_;  // rows there was memory for

  // Evaluations read and write them always in the same place.
  at::Tensor inputs_;                                   // uint8: descriptors, updates, rho
  at::Tensor x_;                                        // [rows, H, W, C]
  at::Tensor c_noise_;                                  // [rows]
  at::Tensor labels_;                                   // [rows, classes]; undefined: no classes
  at::Tensor failures_;                                 // int32 [rows]
  std::map<int, std::unique_ptr<DeviceGraph>> graphs_;  // by rows
  std::map<int, int> substitutes_;  // rows there was no memory for -> rows of the graph instead
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_EVALUATOR_H_
