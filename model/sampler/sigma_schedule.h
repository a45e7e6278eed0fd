// Noise levels of a sampling run. "Scheduler" always means the batch scheduler; this is the
// schedule.
#ifndef SKIPSTREAM_MODEL_SAMPLER_SIGMA_SCHEDULE_H_
#define SKIPSTREAM_MODEL_SAMPLER_SIGMA_SCHEDULE_H_

#include <vector>

#include "absl/status/statusor.h"

namespace skipstream {

// Levels as they appear in a schedule: strictly decreasing, finite, positive. The final 0 is
// implied and is not an element.
using SigmaLevels = std::vector<double>;

// EDM (arXiv 2206.00364) Eq. 5 with the paper's rho, here always `exponent`:
//   sigma_i = (max^(1/e) + i/(n-1) * (min^(1/e) - max^(1/e)))^e, i = 0..n-1; n = 1 gives
//   {sigma_max}.
// InvalidArgument unless n >= 1, 0 < sigma_min < sigma_max, both finite, and exponent >= 1.
absl::StatusOr<SigmaLevels> KarrasLevels(int n, double sigma_min, double sigma_max,
                                         double exponent);

// OK if `levels` is a valid list as described above; else InvalidArgument naming the first
// offender.
absl::Status ValidateLevels(const SigmaLevels& levels);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_SAMPLER_SIGMA_SCHEDULE_H_
