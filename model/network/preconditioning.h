// How a denoiser D is made of a raw network F (EDM, arXiv 2206.00364, Eq. 7 and Table 1):
//   D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)
#ifndef SKIPSTREAM_MODEL_NETWORK_PRECONDITIONING_H_
#define SKIPSTREAM_MODEL_NETWORK_PRECONDITIONING_H_

#include <limits>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace skipstream {

class FieldReader;

struct PreconditioningCoefficients {
  float c_skip = 0.0f;
  float c_out = 0.0f;
  float c_in = 0.0f;
  float c_noise = 0.0f;
};

// The published preconditioner classes with their constants.
class Preconditioning {
 public:
  enum class Kind { kEdm, kVp, kVe };

  // `name`: EDMPrecond, VPPrecond or VEPrecond. Reads the constants that belong to it (EDM:
  // sigma_data, sigma_min, sigma_max; VP: beta_d, beta_min, M, epsilon_t; VE: sigma_min, sigma_max)
  // from `config`; the published values are the defaults. Errors in values stick to `config`.
  static absl::StatusOr<Preconditioning> Parse(std::string_view name, FieldReader& config);

  // The scalings follow the noise level the image has, c_noise the one the network is told.
  PreconditioningCoefficients At(double sigma, double conditioning_sigma) const;

  // The levels the preconditioner is defined for.
  double sigma_min() const { return sigma_min_; }
  double sigma_max() const { return sigma_max_; }

 private:
  explicit Preconditioning(Kind kind) : kind_(kind) {}

  Kind kind_;
  double sigma_min_ = 0.0;
  double sigma_max_ = std::numeric_limits<double>::infinity();
  double sigma_data_ = 0.5;
  double beta_d_ = 19.9;
  double beta_min_ = 0.1;
  double m_ = 1000.0;
  double epsilon_t_ = 1e-5;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_PRECONDITIONING_H_
