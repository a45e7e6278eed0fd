#include "bench/overhead/plain_loop.h"

#include <utility>

#include "absl/status/status.h"

namespace skipstream::bench {

absl::StatusOr<std::vector<Image>> PlainLoop::Generate(
    NetworkId network, const std::shared_ptr<const SamplingPlan>& plan,
    const std::vector<Sample>& samples) {
  std::vector<SlotId> slots;
  for (const Sample& sample : samples) {
    absl::StatusOr<SlotId> slot =
        executor_.AllocateSlot({.network = network, .seed = sample.seed, .plan = plan});
    if (!slot.ok()) return slot.status();
    slots.push_back(*slot);
  }
  for (int step = 0; step < plan->nfe(); ++step) {
    StepBatch batch{.id = next_id_++, .network = network, .rows = {}};
    for (size_t i = 0; i < samples.size(); ++i) {
      batch.rows.push_back({.slot = slots[i],
                            .class_index = samples[i].class_index,
                            .plan = plan,
                            .step = step,
                            .term = 0});
    }
    if (absl::Status status = RunBatch(std::move(batch)); !status.ok()) return status;
  }
  std::vector<Image> images;
  for (SlotId slot : slots) {
    absl::StatusOr<Image> pixels = ReadOut(slot);
    if (!pixels.ok()) return pixels.status();
    images.push_back(*std::move(pixels));
    executor_.FreeSlot(slot);
  }
  return images;
}

absl::Status PlainLoop::RunBatch(StepBatch batch) {
  executor_.Submit(std::move(batch));
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return batch_.has_value(); });
  const BatchResult result = *std::exchange(batch_, std::nullopt);
  if (!result.status.ok()) return result.status;
  for (const absl::Status& status : result.row_status) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Image> PlainLoop::ReadOut(SlotId slot) {
  executor_.ReadOut(next_id_++, slot, ReadOutKind::kFinal);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return read_out_.has_value(); });
  ReadOutResult result = *std::exchange(read_out_, std::nullopt);
  if (!result.status.ok()) return result.status;
  return std::move(result.image);
}

void PlainLoop::OnBatchDone(BatchResult result) {
  std::lock_guard lock(mutex_);
  batch_ = std::move(result);
  done_.notify_one();
}

void PlainLoop::OnReadOut(ReadOutResult result) {
  std::lock_guard lock(mutex_);
  read_out_ = std::move(result);
  done_.notify_one();
}

}  // namespace skipstream::bench
