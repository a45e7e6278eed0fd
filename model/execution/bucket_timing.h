#ifndef SKIPSTREAM_MODEL_EXECUTION_BUCKET_TIMING_H_
#define SKIPSTREAM_MODEL_EXECUTION_BUCKET_TIMING_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "model/executor.h"

namespace skipstream {

// Measures `time` for 1, 2, 4, ... and max_batch rows: each at least once, and up to eight times
// within `budget`. Returns the medians.
std::vector<BucketTiming> MeasureBuckets(int max_batch, absl::Duration budget,
                                         absl::FunctionRef<absl::Duration(int rows)> time);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_BUCKET_TIMING_H_
