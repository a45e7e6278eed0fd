// Data whose ideal denoiser is known: a mixture of three normal distributions of one number.
#ifndef SKIPSTREAM_TESTS_MODEL_DIFFUSION_GAUSSIAN_MIXTURE_H_
#define SKIPSTREAM_TESTS_MODEL_DIFFUSION_GAUSSIAN_MIXTURE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace skipstream {

struct GaussianMixture {
  std::vector<double> means = {-1.2, 0.3, 1.0};
  std::vector<double> stddevs = {0.5, 0.4, 0.7};
  std::vector<double> weights = {0.3, 0.3, 0.4};

  // E[y | y + sigma * n = x].
  double Denoise(double x, double sigma) const {
    double total = 0.0;
    double mean = 0.0;
    // Relative to the component that fits best: far away every density is 0.
    double best = -INFINITY;
    for (size_t k = 0; k < means.size(); ++k) best = std::max(best, LogDensity(k, x, sigma));
    for (size_t k = 0; k < means.size(); ++k) {
      const double variance = stddevs[k] * stddevs[k];
      const double density = std::exp(LogDensity(k, x, sigma) - best);
      total += density;
      mean += density * (means[k] + (x - means[k]) * variance / (variance + sigma * sigma));
    }
    return mean / total;
  }

  // Follows the probability flow dx/dsigma = (x - D) / sigma from x at `from` to `to`. The
  // classical Runge-Kutta method in log sigma takes enough steps that its error does not show.
  double Flow(double x, double from, double to) const {
    constexpr int kSteps = 1500;
    const double h = (std::log(to) - std::log(from)) / kSteps;
    for (int i = 0; i < kSteps; ++i) {
      const auto slope = [&](double y, double u) {
        return y - Denoise(y, from * std::exp((i + u) * h));
      };
      const double k1 = slope(x, 0.0);
      const double k2 = slope(x + 0.5 * h * k1, 0.5);
      const double k3 = slope(x + 0.5 * h * k2, 0.5);
      const double k4 = slope(x + h * k3, 1.0);
      x += h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4);
    }
    return x;
  }

 private:
  double LogDensity(size_t k, double x, double sigma) const {
    const double variance = stddevs[k] * stddevs[k] + sigma * sigma;
    const double distance = x - means[k];
    return std::log(weights[k] / std::sqrt(variance)) - 0.5 * distance * distance / variance;
  }
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_DIFFUSION_GAUSSIAN_MIXTURE_H_
