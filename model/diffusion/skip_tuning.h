// Implements skip-tuning (arXiv 2402.15170): the i-th skip connection of the UNet is multiplied by
// rho_i.
//
// rho_i(sigma) = 1 + strength(sigma) * (rho_i - 1): the depth profile gives rho_i, the noise
// profile gives strength.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SKIP_TUNING_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SKIP_TUNING_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstream {

inline constexpr double kMinRho = 0.0;
inline constexpr double kMaxRho = 2.0;
// A negative strength mirrors the depth profile about 1: -1 turns 0.9 into 1.1.
inline constexpr double kMinStrength = -1.0;
inline constexpr double kMaxStrength = 1.0;

// --- Depth: one rho per skip, index 0 the deepest ("bottom"), K-1 the shallowest ("top"). ---

struct UniformDepth {
  double rho = 1.0;
};
// Interpolates linearly: rho_i = bottom + (top - bottom) * i / (K - 1), both ends reached; K = 1
// gives bottom.
struct LinearDepth {
  double bottom = 1.0;
  double top = 1.0;
};
struct ExplicitDepth {
  std::vector<double> rho;  // K values
};
using DepthProfile = std::variant<UniformDepth, LinearDepth, ExplicitDepth>;

// --- Noise: the strength with which the depth profile applies at a noise level. ---

struct ConstantNoise {};  // strength 1 everywhere
// Has strength 1 where sigma_lo <= sigma <= sigma_hi, 0 elsewhere. An infinite sigma_hi means no
// limit.
struct WindowNoise {
  double sigma_lo = 0.0;
  double sigma_hi = 0.0;
};
// Interpolates linearly in log sigma over the positive noise levels of the schedule; a single level
// counts as the highest. Churn may lift a sample above the highest level; the strength stays the
// same there.
struct RampNoise {
  // True: strength 0 at the lowest level, 1 at the highest (rho decreases with noise for rho < 1;
  // the paper's "decreasing"). False: the reverse.
  bool strongest_at_high_sigma = true;
};
struct NoiseKnot {
  double sigma = 0.0;     // > 0, strictly increasing from knot to knot
  double strength = 0.0;  // kMinStrength to kMaxStrength
};
inline constexpr int kMaxNoiseKnots = 64;
// Interpolates linearly in log sigma; constant beyond the outer knots.
struct KnotsNoise {
  std::vector<NoiseKnot> knots;  // 1 to kMaxNoiseKnots
};
using NoiseProfile = std::variant<ConstantNoise, WindowNoise, RampNoise, KnotsNoise>;

struct SkipTuning {
  DepthProfile depth;
  NoiseProfile noise;
};

// Holds a recommended setting shipped in a model file (metadata key `skip_tuning`) or in a file
// beside it.
struct SkipTuningPreset {
  std::string name;    // the name that a request gives, e.g. "default"
  std::string solver;  // solver it was found for; empty: any
  int nfe = 0;         // NFE it was found for
  SkipTuning tuning;
};

// Returns the K coefficients of a depth profile. InvalidArgument if a value is not finite or
// outside [kMinRho, kMaxRho], or an explicit list does not have num_skips values.
absl::StatusOr<std::vector<double>> ExpandDepth(const DepthProfile& depth, int num_skips);

// Returns OK if the profile's own numbers are in range (finite except for sigma_hi, ordered,
// strengths in range); else InvalidArgument.
absl::Status ValidateNoise(const NoiseProfile& noise);

// Returns the strength at `sigma`; `lowest` and `highest` are the schedule's smallest and largest
// positive levels (read by RampNoise only). The profile must be valid.
double NoiseStrength(const NoiseProfile& noise, double sigma, double lowest, double highest);

// Returns rho_i(sigma) for all skips, ready for a DenoiserTerm.
std::vector<float> RhoAtStrength(const std::vector<double>& depth_rho, double strength);

// Returns the preset called `name` that was found for the NFE nearest to `nfe` (in log NFE; the
// lower one on a tie). Entries for `solver` are preferred over entries for any solver; entries for
// another solver are not used. NotFound (listing the known names) if there is none.
absl::StatusOr<SkipTuning> FindPreset(const std::vector<SkipTuningPreset>& presets,
                                      const std::string& name, const std::string& solver, int nfe);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SKIP_TUNING_H_
