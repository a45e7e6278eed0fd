// Any Executor, with faults on command.
#ifndef SKIPSTREAM_TESTS_TESTING_FAULTY_EXECUTOR_H_
#define SKIPSTREAM_TESTS_TESTING_FAULTY_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/executor.h"

namespace skipstream {

// Everything goes to the executor inside; the faults that are armed are put in between. Arming is
// thread-safe and holds for operations that come after it.
class FaultyExecutor final : public Executor, private ExecutorListener {
 public:
  explicit FaultyExecutor(std::unique_ptr<Executor> inner) : inner_(std::move(inner)) {}

  // The next `count` batches run and are reported as failed with INTERNAL.
  void FailBatches(int count);
  // The next `count` batches take longer by `delay`, and so does all that is queued behind them.
  void SlowBatches(int count, absl::Duration delay);
  // The next `count` samples that ask for a slot find none (RESOURCE_EXHAUSTED).
  void RefuseSlots(int count);
  // The network is given NaN for the noise level in this step (from 0) of samples with this seed.
  void PoisonStep(uint64_t seed, int step);
  // Lifts all of it.
  void Clear();

  void SetListener(ExecutorListener* listener) override;
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) override {
    return inner_->LoadNetwork(path);
  }
  NetworkInfo GetNetworkInfo(NetworkId network) const override {
    return inner_->GetNetworkInfo(network);
  }
  void UnloadNetwork(NetworkId network) override { inner_->UnloadNetwork(network); }
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override {
    return inner_->WarmUp(network, budget);
  }
  PrecisionChoice precision() const override { return inner_->precision(); }
  int max_batch() const override { return inner_->max_batch(); }
  int num_slots() const override { return inner_->num_slots(); }
  int max_in_flight() const override { return inner_->max_in_flight(); }
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override;
  void FreeSlot(SlotId slot) override { inner_->FreeSlot(slot); }
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override {
    inner_->ReadOut(id, slot, kind);
  }

 private:
  using Plan = std::shared_ptr<const SamplingPlan>;

  void OnBatchDone(BatchResult result) override;
  void OnReadOut(ReadOutResult result) override { listener_->OnReadOut(std::move(result)); }

  std::mutex mutex_;  // guards the faults
  int failing_batches_ = 0;
  int slow_batches_ = 0;
  absl::Duration delay_;
  int refused_slots_ = 0;
  std::map<uint64_t, int> poisoned_steps_;  // by seed

  std::map<SlotId, Plan> poisoned_plans_;  // of samples in flight; the caller's thread's
  ExecutorListener* listener_ = nullptr;
  // Last: its threads, which report here, end before the rest goes.
  const std::unique_ptr<Executor> inner_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_FAULTY_EXECUTOR_H_
