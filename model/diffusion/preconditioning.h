// Turns a raw network F into a denoiser D (EDM, arXiv 2206.00364, Eq. 7 and Table 1):
//   D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)
// and into a consistency function of the same form (Song et al., arXiv 2303.01469, appendix C).
#ifndef SKIPSTREAM_MODEL_DIFFUSION_PRECONDITIONING_H_
#define SKIPSTREAM_MODEL_DIFFUSION_PRECONDITIONING_H_

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/diffusion/solver_step.h"

namespace skipstream {

class FieldReader;

// Computes the coefficients of the published preconditioner classes.
class Preconditioning {
 public:
  enum class Kind { kEdm, kVp, kVe, kIddpm, kCm };

  // EDM with the published sigma_data of 0.5, for every noise level.
  Preconditioning() : Preconditioning(Kind::kEdm) {}

  // Reads the constants of the class `name` from `config`: EDMPrecond, VPPrecond, VEPrecond,
  // iDDPMPrecond or CMPrecond. The published values are the defaults:
  //   EDM, CM  sigma_data, sigma_min, sigma_max
  //   VP       beta_d, beta_min, M, epsilon_t
  //   VE       sigma_min, sigma_max
  //   iDDPM    C_1, C_2, M
  // Errors in values stick to `config`.
  static absl::StatusOr<Preconditioning> Parse(std::string_view name, FieldReader& config);

  // Returns the coefficients: c_skip, c_out and c_in for the noise level `sigma` of the image,
  // c_noise for the level `conditioning_sigma` that the network is given.
  DenoiserCoefficients At(double sigma, double conditioning_sigma) const;

  // Bound the noise levels that the preconditioner is defined for.
  double sigma_min() const { return sigma_min_; }
  double sigma_max() const { return sigma_max_; }
  // Returns these levels, descending, if they are countable; else an empty list.
  std::vector<double> sigma_levels() const;
  // Returns iDDPM's levels and the final 0, as the published class stores them in its buffer `u`.
  // Empty for other classes.
  const std::vector<double>& stored_levels() const { return u_; }

  // Returns the channels of F's output per channel of the image. If there are more than one, the
  // first are the image. The rest of iDDPM's tell the variance of a reverse step, which no sampler
  // here uses.
  int outputs_per_channel() const { return kind_ == Kind::kIddpm ? 2 : 1; }

 private:
  explicit Preconditioning(Kind kind) : kind_(kind) {}

  static Preconditioning ParseContinuous(Kind kind, double sigma_min, double sigma_max,
                                         FieldReader& config);
  static Preconditioning ParseVp(FieldReader& config);
  static Preconditioning ParseIddpm(FieldReader& config);

  Kind kind_;
  double sigma_min_ = 0.0;
  double sigma_max_ = std::numeric_limits<double>::infinity();
  double sigma_data_ = 0.5;
  double beta_d_ = 19.9;
  double beta_min_ = 0.1;
  double m_ = 1000.0;
  double epsilon_t_ = 1e-5;
  std::vector<double> u_;  // [M + 1], descending to 0
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_PRECONDITIONING_H_
