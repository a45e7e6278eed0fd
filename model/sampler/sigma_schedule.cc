#include "model/sampler/sigma_schedule.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace skipstream {

absl::StatusOr<SigmaLevels> KarrasLevels(int n, double sigma_min, double sigma_max,
                                         double exponent) {
  if (n < 1) return absl::InvalidArgumentError(absl::StrCat("n: must be at least 1; got ", n));
  if (!std::isfinite(sigma_min) || sigma_min <= 0.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sigma_min: must be finite and above 0; got ", sigma_min));
  }
  if (!std::isfinite(sigma_max) || sigma_max <= sigma_min) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sigma_max: must be finite and above sigma_min (", sigma_min, "); got ", sigma_max));
  }
  if (!std::isfinite(exponent) || exponent < 1.0) {
    return absl::InvalidArgumentError(
        absl::StrCat("exponent: must be finite and at least 1; got ", exponent));
  }
  SigmaLevels levels = {sigma_max};
  if (n == 1) return levels;
  levels.reserve(n);
  const double top = std::pow(sigma_max, 1.0 / exponent);
  const double bottom = std::pow(sigma_min, 1.0 / exponent);
  for (int i = 1; i + 1 < n; ++i) {
    levels.push_back(std::pow(top + (bottom - top) * i / (n - 1), exponent));
  }
  levels.push_back(sigma_min);
  if (!ValidateLevels(levels).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("n: ", n, " levels between ", sigma_min, " and ",
                                                   sigma_max, " with exponent ", exponent,
                                                   " do not differ in double precision"));
  }
  return levels;
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
