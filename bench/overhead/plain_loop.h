// The yardstick: an executor driven by the simplest loop there is, with no server around it.
#ifndef SKIPSTREAM_BENCH_OVERHEAD_PLAIN_LOOP_H_
#define SKIPSTREAM_BENCH_OVERHEAD_PLAIN_LOOP_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "model/executor.h"

namespace skipstream::bench {

// Blocks where a server would not: every call waits for what it submitted. One thread.
class PlainLoop final : public ExecutorListener {
 public:
  // Becomes the listener of `executor`, which must be destroyed before this object.
  explicit PlainLoop(Executor& executor) : executor_(executor) { executor_.SetListener(this); }

  struct Sample {
    uint64_t seed = 0;
    int class_index = -1;
  };
  // Makes all samples in lock step, one batch per evaluation: at most max_batch() and num_slots()
  // of them, and a plan whose steps have one term each.
  absl::StatusOr<std::vector<Image>> Generate(NetworkId network,
                                              const std::shared_ptr<const SamplingPlan>& plan,
                                              const std::vector<Sample>& samples);

  void OnBatchDone(BatchResult result) override;
  void OnReadOut(ReadOutResult result) override;

 private:
  absl::Status RunBatch(StepBatch batch);
  absl::StatusOr<Image> ReadOut(SlotId slot);

  Executor& executor_;
  uint64_t next_id_ = 1;
  std::mutex mutex_;
  std::condition_variable done_;
  std::optional<BatchResult> batch_;       // guarded by mutex_
  std::optional<ReadOutResult> read_out_;  // guarded by mutex_
};

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_OVERHEAD_PLAIN_LOOP_H_
