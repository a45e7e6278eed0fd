// Computes the noise levels of a sampling run. "Scheduler" always means the batch scheduler; this
// is the schedule.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SIGMA_SCHEDULE_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SIGMA_SCHEDULE_H_

#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstream {

// Holds noise levels as they appear in a schedule: strictly decreasing, finite, positive. A final 0
// is implied and is not an element.
using SigmaLevels = std::vector<double>;

// --- Spacings: curves of n levels from sigma_max to sigma_min; i = 0..n-1, u = i / (n - 1). ---

// Follows EDM (arXiv 2206.00364) Eq. 5 with the paper's rho, here always `exponent`, from 1 on:
//   sigma_i = (max^(1/e) + u (min^(1/e) - max^(1/e)))^e
struct KarrasSpacing {
  double exponent = 7.0;
};
// Spaces levels uniformly in log sigma. The discretisation of VE (EDM Table 1) is the same:
// sigma_i^2 geometric.
struct ExponentialSpacing {};
// Spaces levels uniformly in sigma.
struct LinearSpacing {};
// Follows EDM Table 1, VP: uniform in t, from t(sigma_max) to t(sigma_min), where sigma(t) =
// sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1) with beta_d = 19.9, beta_min = 0.1.
struct VpSpacing {};
// Follows EDM Table 1, iDDPM: takes every n-th, nearest first, of those of the M = 1000 levels u_j
// (IddpmLevels) that lie inside [sigma_min, sigma_max]. The ends are the outermost such levels.
struct IddpmSpacing {};

using Spacing =
    std::variant<KarrasSpacing, ExponentialSpacing, LinearSpacing, VpSpacing, IddpmSpacing>;

// Returns n levels from sigma_max to sigma_min; n = 1 gives the first one. InvalidArgument unless n
// >= 1, 0 < sigma_min < sigma_max, both finite, the exponent is at least 1 and there are n
// different levels.
absl::StatusOr<SigmaLevels> SpacedLevels(const Spacing& spacing, int n, double sigma_min,
                                         double sigma_max);

// Returns the level at position u from 0 (sigma_max) to 1 (sigma_min) of the same curve. The
// arguments must be valid for SpacedLevels.
double LevelAt(const Spacing& spacing, double u, double sigma_min, double sigma_max);

// Returns sigma(t) of VpSpacing's curve.
double VpSigma(double t);

// Returns u_0 > u_1 > ... > u_{M-1} of EDM Table 1 (improved DDPM, arXiv 2102.09672): u_M = 0,
//   u_{j-1} = sqrt((u_j^2 + 1) / max(a_{j-1} / a_j, C_1) - 1),
//   a_j = sin^2(pi/2 j / (M (C_2 + 1))).
std::vector<double> IddpmLevels(int m = 1000, double c_1 = 0.001, double c_2 = 0.008);

// Moves every level to the nearest of `allowed` (descending). Where several would meet, one moves
// to the next free level. An empty `allowed` allows everything. InvalidArgument if there are more
// levels than allowed ones.
absl::StatusOr<SigmaLevels> RoundLevels(const SigmaLevels& levels,
                                        const std::vector<double>& allowed);

// Returns the nearest of `allowed` (descending, not empty).
double NearestLevel(double sigma, const std::vector<double>& allowed);

// Returns OK if `levels` is a valid list as SigmaLevels says; else InvalidArgument that names the
// first offender.
absl::Status ValidateLevels(const SigmaLevels& levels);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SIGMA_SCHEDULE_H_
