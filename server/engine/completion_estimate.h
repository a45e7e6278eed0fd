// Estimates when a request will be done from the current state: the work that goes before it and
// the time of an evaluation.
#ifndef SKIPSTREAM_SERVER_ENGINE_COMPLETION_ESTIMATE_H_
#define SKIPSTREAM_SERVER_ENGINE_COMPLETION_ESTIMATE_H_

#include <vector>

#include "absl/time/time.h"
#include "server/engine/cost_model.h"

namespace skipstream {

// Selects the usual time of a batch, or its best.
enum class BatchTimes { kUsual, kBest };

struct RequestWork {
  int samples = 1;
  int rows_per_sample = 0;
  // Rows that are ready together, all of them in one batch (2: a guided evaluation).
  int rows_per_step = 1;
};

// Estimates the time until the last of the request's samples is done. It lays the samples into the
// places of a batch, in order, each when a place is free. The samples ahead come first (remaining
// rows of the same network, best first), then the request's own. A place gives one row per batch.
// `before` is the time everything waits first: batches in flight, other networks, other tenants.
// Zero while `cost` knows nothing. Assumes that nothing better arrives meanwhile. O(N log N) for N
// samples ahead.
absl::Duration EstimateCompletion(const CostModel& cost, int max_batch, absl::Duration before,
                                  const std::vector<int>& samples_ahead, const RequestWork& work,
                                  BatchTimes times = BatchTimes::kUsual);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_COMPLETION_ESTIMATE_H_
