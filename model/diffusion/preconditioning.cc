#include "model/diffusion/preconditioning.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "base/quoted_name.h"
#include "base/strict_json.h"

namespace skipstream {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kHuge = 1e12;
constexpr int kMaxLevels = 10000;

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

// EDM Table 1, iDDPM: u_M = 0 and
//   u_{j-1} = sqrt((u_j^2 + 1) / max(alpha_bar(j-1) / alpha_bar(j), C_1) - 1),
//   alpha_bar(j) = sin^2(pi/2 j / (M (C_2 + 1))).
// In float32 for the same reason as VpSigma: the smallest levels differ in their third digit.
std::vector<double> IddpmLevels(int m, float c_1, double c_2) {
  const auto alpha_bar = [&](int j) {
    const float angle = static_cast<float>(0.5 * std::numbers::pi) * static_cast<float>(j) /
                        static_cast<float>(m) / static_cast<float>(c_2 + 1.0);
    const float sine = std::sin(angle);
    return sine * sine;
  };
  std::vector<double> u(m + 1, 0.0);
  float level = 0.0f;
  for (int j = m; j > 0; --j) {
    const float ratio = std::max(alpha_bar(j - 1) / alpha_bar(j), c_1);
    level = std::sqrt((level * level + 1.0f) / ratio - 1.0f);
    u[j - 1] = level;
  }
  return u;
}

}  // namespace

// Defined for every level between the limits, which default to those given.
Preconditioning Preconditioning::ParseContinuous(Kind kind, double sigma_min, double sigma_max,
                                                 FieldReader& config) {
  Preconditioning made(kind);
  made.sigma_min_ = sigma_min;
  made.sigma_max_ = sigma_max;
  if (kind != Kind::kVe) config.Number("sigma_data", kTiny, kHuge, &made.sigma_data_);
  config.Number("sigma_min", kind == Kind::kEdm ? 0.0 : kTiny, kHuge, &made.sigma_min_);
  config.Number("sigma_max", kTiny, kHuge, &made.sigma_max_);
  if (!(made.sigma_min_ < made.sigma_max_)) config.Fail("sigma_max", "must exceed sigma_min");
  return made;
}

Preconditioning Preconditioning::ParseVp(FieldReader& config) {
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

Preconditioning Preconditioning::ParseIddpm(FieldReader& config) {
  Preconditioning iddpm(Kind::kIddpm);
  double c_1 = 0.001;
  double c_2 = 0.008;
  int m = 1000;
  config.Number("C_1", 1e-6, 0.999, &c_1);
  config.Number("C_2", 0.0, 1.0, &c_2);
  config.Integer("M", 2, kMaxLevels, &m);
  iddpm.m_ = m;
  iddpm.u_ = IddpmLevels(m, static_cast<float>(c_1), c_2);
  // Rejects constants for which float32 gives two levels the same value.
  if (std::adjacent_find(iddpm.u_.begin(), iddpm.u_.end(), std::less_equal<>()) != iddpm.u_.end() ||
      !std::isfinite(iddpm.u_.front())) {
    config.Fail("M", "with C_1 and C_2 makes levels that do not descend");
  }
  iddpm.sigma_max_ = iddpm.u_.front();
  iddpm.sigma_min_ = iddpm.u_[m - 1];
  return iddpm;
}

absl::StatusOr<Preconditioning> Preconditioning::Parse(std::string_view name, FieldReader& config) {
  if (name == "EDMPrecond") {
    return ParseContinuous(Kind::kEdm, 0.0, std::numeric_limits<double>::infinity(), config);
  }
  if (name == "VEPrecond") return ParseContinuous(Kind::kVe, 0.02, 100.0, config);
  if (name == "CMPrecond") return ParseContinuous(Kind::kCm, 0.002, 80.0, config);
  if (name == "VPPrecond") return ParseVp(config);
  if (name == "iDDPMPrecond") return ParseIddpm(config);
  return absl::InvalidArgumentError(
      absl::StrCat("metadata 'preconditioning' is ", QuotedName(name),
                   ", not EDMPrecond, VPPrecond, VEPrecond, iDDPMPrecond or CMPrecond"));
}

std::vector<double> Preconditioning::sigma_levels() const {
  return u_.empty() ? u_ : std::vector<double>(u_.begin(), u_.end() - 1);
}

DenoiserCoefficients Preconditioning::At(double sigma, double conditioning_sigma) const {
  double c_skip = 1.0;
  double c_out = 0.0;
  double c_in = 1.0;
  double c_noise = 0.0;
  const double variance = sigma_data_ * sigma_data_;
  switch (kind_) {
    case Kind::kEdm: {
      const double total = sigma * sigma + variance;
      c_skip = variance / total;
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
    case Kind::kIddpm: {
      c_out = -sigma;
      c_in = 1.0 / std::sqrt(sigma * sigma + 1.0);
      // The nearest level, the larger one of two; the network counts from the smallest.
      auto below = std::lower_bound(u_.begin(), u_.end(), conditioning_sigma, std::greater<>());
      if (below == u_.end()) --below;
      if (below != u_.begin() && below[-1] - conditioning_sigma <= conditioning_sigma - *below) {
        --below;
      }
      c_noise = m_ - 1.0 - static_cast<double>(below - u_.begin());
      break;
    }
    case Kind::kCm: {
      // A consistency function: the identity at sigma_min, whatever F is.
      const double above_min = sigma - sigma_min_;
      const double total = sigma * sigma + variance;
      c_skip = variance / (above_min * above_min + variance);
      c_out = sigma_data_ * above_min / std::sqrt(total);
      c_in = 1.0 / std::sqrt(total);
      c_noise = 250.0 * std::log(conditioning_sigma + 1e-44);
      break;
    }
  }
  return {static_cast<float>(c_skip), static_cast<float>(c_out), static_cast<float>(c_in),
          static_cast<float>(c_noise)};
}

}  // namespace skipstream
