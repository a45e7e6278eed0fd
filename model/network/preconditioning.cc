#include "model/network/preconditioning.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "model/network/quoted_name.h"
#include "model/network/strict_json.h"

namespace skipstream {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kHuge = 1e12;

// EDM Table 1, VP: sigma(t) = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1). In float32, because the
// limits that the published networks state are: near 0 the subtraction loses digits there.
double VpSigma(float t, float beta_d, float beta_min) {
  return std::sqrt(std::exp(0.5f * beta_d * (t * t) + beta_min * t) - 1.0f);
}

// The inverse of the formula above.
double VpTime(double sigma, double beta_d, double beta_min) {
  return (std::sqrt(beta_min * beta_min + 2.0 * beta_d * std::log1p(sigma * sigma)) - beta_min) /
         beta_d;
}

}  // namespace

absl::StatusOr<Preconditioning> Preconditioning::Parse(std::string_view name, FieldReader& config) {
  if (name == "EDMPrecond") {
    Preconditioning edm(Kind::kEdm);
    config.Number("sigma_data", kTiny, kHuge, &edm.sigma_data_);
    config.Number("sigma_min", 0.0, kHuge, &edm.sigma_min_);
    config.Number("sigma_max", kTiny, kHuge, &edm.sigma_max_);
    if (!(edm.sigma_min_ < edm.sigma_max_)) config.Fail("sigma_max", "must exceed sigma_min");
    return edm;
  }
  if (name == "VPPrecond") {
    Preconditioning vp(Kind::kVp);
    config.Number("beta_d", kTiny, 1e3, &vp.beta_d_);
    config.Number("beta_min", 0.0, 1e3, &vp.beta_min_);
    config.Number("M", 2.0, 1e6, &vp.m_);
    config.Number("epsilon_t", kTiny, 0.5, &vp.epsilon_t_);
    const float beta_d = static_cast<float>(vp.beta_d_);
    const float beta_min = static_cast<float>(vp.beta_min_);
    vp.sigma_min_ = VpSigma(static_cast<float>(vp.epsilon_t_), beta_d, beta_min);
    vp.sigma_max_ = VpSigma(1.0f, beta_d, beta_min);
    if (!std::isfinite(vp.sigma_max_)) config.Fail("beta_d", "makes sigma_max infinite");
    if (!(vp.sigma_min_ > 0.0)) config.Fail("epsilon_t", "makes sigma_min zero");
    return vp;
  }
  if (name == "VEPrecond") {
    Preconditioning ve(Kind::kVe);
    ve.sigma_min_ = 0.02;
    ve.sigma_max_ = 100.0;
    config.Number("sigma_min", kTiny, kHuge, &ve.sigma_min_);
    config.Number("sigma_max", kTiny, kHuge, &ve.sigma_max_);
    if (!(ve.sigma_min_ < ve.sigma_max_)) config.Fail("sigma_max", "must exceed sigma_min");
    return ve;
  }
  return absl::InvalidArgumentError(absl::StrCat("metadata 'preconditioning' is ", QuotedName(name),
                                                 ", not EDMPrecond, VPPrecond or VEPrecond"));
}

PreconditioningCoefficients Preconditioning::At(double sigma, double conditioning_sigma) const {
  double c_skip = 1.0;
  double c_out = 0.0;
  double c_in = 1.0;
  double c_noise = 0.0;
  switch (kind_) {
    case Kind::kEdm: {
      const double total = sigma * sigma + sigma_data_ * sigma_data_;
      c_skip = sigma_data_ * sigma_data_ / total;
      c_out = sigma * sigma_data_ / std::sqrt(total);
      c_in = 1.0 / std::sqrt(total);
      c_noise = std::log(conditioning_sigma) / 4.0;
      break;
    }
    case Kind::kVp:
      c_out = -sigma;
      c_in = 1.0 / std::sqrt(sigma * sigma + 1.0);
      c_noise = (m_ - 1.0) * VpTime(conditioning_sigma, beta_d_, beta_min_);
      break;
    case Kind::kVe:
      c_out = sigma;
      c_noise = std::log(0.5 * conditioning_sigma);
      break;
  }
  return {static_cast<float>(c_skip), static_cast<float>(c_out), static_cast<float>(c_in),
          static_cast<float>(c_noise)};
}

}  // namespace skipstream
