#include "server/engine/completion_estimate.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>

namespace skipstream {

absl::Duration EstimateCompletion(const CostModel& cost, int max_batch, absl::Duration before,
                                  const std::vector<int>& samples_ahead, const RequestWork& work,
                                  BatchTimes times) {
  const int rows_per_step = std::clamp(work.rows_per_step, 1, max_batch);
  const int places = std::max(1, max_batch / rows_per_step);
  // Batches until each place is free.
  std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> free_after;
  for (int i = 0; i < places; ++i) free_after.push(0);
  const auto lay = [&](int rows) {
    const int64_t end = free_after.top() + (rows + rows_per_step - 1) / rows_per_step;
    free_after.pop();
    free_after.push(end);
    return end;
  };
  for (const int rows : samples_ahead) lay(rows);
  int64_t batches = 0;
  for (int i = 0; i < work.samples; ++i) batches = std::max(batches, lay(work.rows_per_sample));
  const int64_t rows_at_once =
      (static_cast<int64_t>(samples_ahead.size()) + work.samples) * rows_per_step;
  const int rows = static_cast<int>(std::min<int64_t>(max_batch, rows_at_once));
  const absl::Duration batch =
      times == BatchTimes::kBest ? cost.BestBatchTime(rows) : cost.BatchTime(rows);
  return before + batch * batches;
}

}  // namespace skipstream
