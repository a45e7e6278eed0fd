#include "tests/testing/faulty_executor.h"

#include <limits>
#include <optional>
#include <thread>
#include <utility>

namespace skipstream {

void FaultyExecutor::FailBatches(int count) {
  std::lock_guard lock(mutex_);
  failing_batches_ = count;
}

void FaultyExecutor::SlowBatches(int count, absl::Duration delay) {
  std::lock_guard lock(mutex_);
  slow_batches_ = count;
  delay_ = delay;
}

void FaultyExecutor::RefuseSlots(int count) {
  std::lock_guard lock(mutex_);
  refused_slots_ = count;
}

void FaultyExecutor::PoisonStep(uint64_t seed, int step) {
  std::lock_guard lock(mutex_);
  poisoned_steps_[seed] = step;
}

void FaultyExecutor::Clear() {
  std::lock_guard lock(mutex_);
  failing_batches_ = slow_batches_ = refused_slots_ = 0;
  poisoned_steps_.clear();
}

void FaultyExecutor::SetListener(ExecutorListener* listener) {
  listener_ = listener;
  inner_->SetListener(this);
}

absl::StatusOr<SlotId> FaultyExecutor::AllocateSlot(const SlotInit& init) {
  std::optional<int> poisoned_step;
  {
    std::lock_guard lock(mutex_);
    if (refused_slots_ > 0) {
      --refused_slots_;
      return absl::ResourceExhaustedError("injected: no slot");
    }
    const auto it = poisoned_steps_.find(init.seed);
    if (it != poisoned_steps_.end()) poisoned_step = it->second;
  }
  absl::StatusOr<SlotId> slot = inner_->AllocateSlot(init);
  if (!slot.ok()) return slot;
  poisoned_plans_.erase(*slot);
  if (poisoned_step && *poisoned_step < init.plan->nfe()) {
    auto plan = std::make_shared<SamplingPlan>(*init.plan);
    for (DenoiserTerm& term : plan->steps[static_cast<size_t>(*poisoned_step)].terms) {
      term.coefficients.c_noise = std::numeric_limits<float>::quiet_NaN();
    }
    poisoned_plans_[*slot] = std::move(plan);
  }
  return slot;
}

void FaultyExecutor::Submit(StepBatch batch) {
  for (EvalRow& row : batch.rows) {
    const auto it = poisoned_plans_.find(row.slot);
    if (it != poisoned_plans_.end()) row.plan = it->second;
  }
  inner_->Submit(std::move(batch));
}

void FaultyExecutor::OnBatchDone(BatchResult result) {
  absl::Duration delay;
  {
    std::lock_guard lock(mutex_);
    if (slow_batches_ > 0) {
      --slow_batches_;
      delay = delay_;
    }
    if (failing_batches_ > 0) {
      --failing_batches_;
      result.status = absl::InternalError("injected: the batch failed");
      result.row_status.clear();
    }
  }
  if (delay > absl::ZeroDuration()) {
    std::this_thread::sleep_for(absl::ToChronoNanoseconds(delay));
    result.busy += delay;
  }
  listener_->OnBatchDone(std::move(result));
}

}  // namespace skipstream
