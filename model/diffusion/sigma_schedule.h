// Noise levels of a sampling run. "Scheduler" always means the batch scheduler; this is the
// schedule.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SIGMA_SCHEDULE_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SIGMA_SCHEDULE_H_

#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstream {

// Levels as they appear in a schedule: strictly decreasing, finite, positive. A final 0 is implied
// and is not an element.
using SigmaLevels = std::vector<double>;

// --- How levels are spaced between sigma_max and sigma_min; i = 0..n-1, u = i / (n - 1). ---

// EDM (arXiv 2206.00364) Eq. 5 with the paper's rho, here always `exponent`, from 1 on:
//   sigma_i = (max^(1/e) + u (min^(1/e) - max^(1/e)))^e
struct KarrasSpacing {
  double exponent = 7.0;
};
// Uniform in log sigma. The discretisation of VE (EDM Table 1) is the same: sigma_i^2 geometric.
struct ExponentialSpacing {};
// Uniform in sigma.
struct LinearSpacing {};
// EDM Table 1, VP: uniform in t, where sigma(t) = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1) with
// beta_d = 19.9, beta_min = 0.1, from t(sigma_max) to t(sigma_min).
struct VpSpacing {};
// EDM Table 1, iDDPM: out of the M = 1000 levels u_j (IddpmLevels) that lie inside
// [sigma_min, sigma_max], every n-th, nearest first. The ends are the outermost such levels.
struct IddpmSpacing {};

using Spacing =
    std::variant<KarrasSpacing, ExponentialSpacing, LinearSpacing, VpSpacing, IddpmSpacing>;

// n levels from sigma_max to sigma_min; n = 1 gives the first one.
// InvalidArgument unless n >= 1, 0 < sigma_min < sigma_max, both finite, the exponent is at least 1
// and there are n different levels.
absl::StatusOr<SigmaLevels> SpacedLevels(const Spacing& spacing, int n, double sigma_min,
                                         double sigma_max);

// The level at position u from 0 (sigma_max) to 1 (sigma_min) of the same curve. The arguments must
// be valid for SpacedLevels.
double LevelAt(const Spacing& spacing, double u, double sigma_min, double sigma_max);

// sigma(t) of VpSpacing's curve.
double VpSigma(double t);

// u_0 > u_1 > ... > u_{M-1} of EDM Table 1 (improved DDPM, arXiv 2102.09672): u_M = 0,
//   u_{j-1} = sqrt((u_j^2 + 1) / max(a_{j-1} / a_j, C_1) - 1),
//   a_j = sin^2(pi/2 j / (M (C_2 + 1))).
std::vector<double> IddpmLevels(int m = 1000, double c_1 = 0.001, double c_2 = 0.008);

// Moves every level to the nearest of `allowed` (descending); where several would meet, to the next
// free one. An empty `allowed` allows everything. InvalidArgument if there are more levels than
// allowed ones.
absl::StatusOr<SigmaLevels> RoundLevels(const SigmaLevels& levels,
                                        const std::vector<double>& allowed);

// The nearest of `allowed` (descending, not empty).
double NearestLevel(double sigma, const std::vector<double>& allowed);

// OK if `levels` is a valid list as described above; else InvalidArgument naming the first
// offender.
absl::Status ValidateLevels(const SigmaLevels& levels);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SIGMA_SCHEDULE_H_
