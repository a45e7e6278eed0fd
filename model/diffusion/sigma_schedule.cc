#include "model/diffusion/sigma_schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

// VP of EDM Table 1.
constexpr double kBetaD = 19.9;
constexpr double kBetaMin = 0.1;

double VpTime(double sigma) {
  // log1p(sigma^2), also where the square overflows.
  const double log_term = sigma < 1e150 ? std::log1p(sigma * sigma) : 2.0 * std::log(sigma);
  return (std::sqrt(kBetaMin * kBetaMin + 2.0 * kBetaD * log_term) - kBetaMin) / kBetaD;
}

// Between two ends in the coordinate `to` (whose inverse is `from`).
template <typename To, typename From>
double Between(double u, double sigma_min, double sigma_max, To to, From from) {
  return from(std::lerp(to(sigma_max), to(sigma_min), u));
}

struct CurveAt {
  double u;
  double sigma_min;
  double sigma_max;

  double operator()(const KarrasSpacing& karras) const {
    return Between(
        u, sigma_min, sigma_max, [&](double s) { return std::pow(s, 1.0 / karras.exponent); },
        [&](double v) { return std::pow(v, karras.exponent); });
  }
  double operator()(const ExponentialSpacing&) const {
    return Between(
        u, sigma_min, sigma_max, [](double s) { return std::log(s); },
        [](double v) { return std::exp(v); });
  }
  double operator()(const LinearSpacing&) const { return std::lerp(sigma_max, sigma_min, u); }
  double operator()(const VpSpacing&) const {
    return Between(u, sigma_min, sigma_max, VpTime, VpSigma);
  }
  double operator()(const IddpmSpacing&) const;
};

// Those of the iDDPM levels that lie in the range, descending.
std::vector<double> IddpmLevelsInside(double sigma_min, double sigma_max) {
  std::vector<double> inside;
  for (const double level : IddpmLevels()) {
    if (level >= sigma_min && level <= sigma_max) inside.push_back(level);
  }
  return inside;
}

double CurveAt::operator()(const IddpmSpacing&) const {
  const std::vector<double> inside = IddpmLevelsInside(sigma_min, sigma_max);
  if (inside.empty()) return sigma_max;
  return inside[static_cast<size_t>(std::floor(u * static_cast<double>(inside.size() - 1) + 0.5))];
}

}  // namespace

double VpSigma(double t) { return std::sqrt(std::expm1(0.5 * kBetaD * t * t + kBetaMin * t)); }

double LevelAt(const Spacing& spacing, double u, double sigma_min, double sigma_max) {
  if (!std::holds_alternative<IddpmSpacing>(spacing)) {
    if (u <= 0.0) return sigma_max;
    if (u >= 1.0) return sigma_min;
  }
  return std::visit(CurveAt{u, sigma_min, sigma_max}, spacing);
}

absl::StatusOr<SigmaLevels> SpacedLevels(const Spacing& spacing, int n, double sigma_min,
                                         double sigma_max) {
  if (n < 1) return absl::InvalidArgumentError(absl::StrCat("n: must be at least 1; got ", n));
  if (!std::isfinite(sigma_min) || sigma_min <= 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sigma_min: must be finite and above 0; got ", sigma_min));
  }
  if (!std::isfinite(sigma_max) || sigma_max <= sigma_min) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sigma_max: must be finite and above sigma_min (", sigma_min, "); got ", sigma_max));
  }
  const auto* karras = std::get_if<KarrasSpacing>(&spacing);
  if (karras != nullptr && !(std::isfinite(karras->exponent) && karras->exponent >= 1.0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("exponent: must be finite and at least 1; got ", karras->exponent));
  }
  SigmaLevels levels;
  if (std::holds_alternative<IddpmSpacing>(spacing)) {
    const std::vector<double> inside = IddpmLevelsInside(sigma_min, sigma_max);
    if (inside.size() < static_cast<size_t>(n)) {
      return absl::InvalidArgumentError(absl::StrCat("n: iDDPM has ", inside.size(),
                                                     " levels between ", sigma_min, " and ",
                                                     sigma_max, ", not ", n));
    }
    for (int i = 0; i < n; ++i) {
      const double position =
          n == 1 ? 0.0 : static_cast<double>(i) * static_cast<double>(inside.size() - 1) / (n - 1);
      levels.push_back(inside[static_cast<size_t>(std::floor(position + 0.5))]);
    }
    return levels;
  }
  levels.reserve(n);
  for (int i = 0; i < n; ++i) {
    levels.push_back(
        LevelAt(spacing, n == 1 ? 0.0 : static_cast<double>(i) / (n - 1), sigma_min, sigma_max));
  }
  if (!ValidateLevels(levels).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("n: ", n, " levels between ", sigma_min, " and ",
                                                   sigma_max,
                                                   " do not differ in double precision"));
  }
  return levels;
}

std::vector<double> IddpmLevels(int m, double c_1, double c_2) {
  const auto alpha_bar = [&](int j) {
    const double s = std::sin(0.5 * std::numbers::pi * j / (m * (c_2 + 1.0)));
    return s * s;
  };
  std::vector<double> levels(m);
  double u = 0.0;
  for (int j = m; j > 0; --j) {
    const double ratio = std::max(alpha_bar(j - 1) / alpha_bar(j), c_1);
    u = std::sqrt((u * u + 1.0) / ratio - 1.0);
    levels[j - 1] = u;
  }
  return levels;
}

double NearestLevel(double sigma, const std::vector<double>& allowed) {
  // The first one not above sigma, and its neighbour above.
  const auto below = std::lower_bound(allowed.begin(), allowed.end(), sigma, std::greater<>());
  if (below == allowed.begin()) return allowed.front();
  if (below == allowed.end()) return allowed.back();
  const double above = *(below - 1);
  return above - sigma < sigma - *below ? above : *below;
}

absl::StatusOr<SigmaLevels> RoundLevels(const SigmaLevels& levels,
                                        const std::vector<double>& allowed) {
  if (allowed.empty()) return levels;
  const int64_t count = static_cast<int64_t>(levels.size());
  const int64_t size = static_cast<int64_t>(allowed.size());
  if (count > size) {
    return absl::InvalidArgumentError(
        absl::StrCat("levels: the network knows ", size, " noise levels, not ", count));
  }
  SigmaLevels rounded(levels.size());
  // Going down, level i may not pass the last place that leaves room for those behind it.
  int64_t next_free = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double nearest = NearestLevel(levels[i], allowed);
    const int64_t index =
        std::lower_bound(allowed.begin(), allowed.end(), nearest, std::greater<>()) -
        allowed.begin();
    const int64_t place = std::clamp(index, next_free, size - (count - i));
    rounded[i] = allowed[place];
    next_free = place + 1;
  }
  return rounded;
}

absl::Status ValidateLevels(const SigmaLevels& levels) {
  if (levels.empty()) return absl::InvalidArgumentError("levels: at least one is needed");
  for (size_t i = 0; i < levels.size(); ++i) {
    if (!std::isfinite(levels[i]) || levels[i] <= 0.0) {
      return absl::InvalidArgumentError(
          absl::StrCat("levels[", i, "]: must be finite and above 0; got ", levels[i]));
    }
    if (i > 0 && levels[i] >= levels[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat("levels[", i, "]: must be below levels[",
                                                     i - 1, "] (", levels[i - 1], "); got ",
                                                     levels[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstream
