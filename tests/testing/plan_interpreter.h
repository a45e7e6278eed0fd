// Runs a SamplingPlan on plain doubles, as solver_step.h says an executor does: many samples of one
// scalar each, side by side. Whatever a fresh slot does not hold is NaN, so a plan that reads a
// register nobody wrote gives NaN.
#ifndef SKIPSTREAM_TESTS_TESTING_PLAN_INTERPRETER_H_
#define SKIPSTREAM_TESTS_TESTING_PLAN_INTERPRETER_H_

#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "model/sampler/solver_step.h"

namespace skipstream {

// The denoised value of `x` at noise level `sigma`.
using ScalarDenoiser = std::function<double(double x, double sigma)>;
// The next standard normal number.
using NormalSource = std::function<double()>;

class PlanInterpreter {
 public:
  // `normal` may be empty for plans that draw no noise. It is called once per sample and draw, in
  // the order of the samples.
  explicit PlanInterpreter(ScalarDenoiser denoiser, NormalSource normal = {})
      : denoiser_(std::move(denoiser)), normal_(std::move(normal)) {}

  // The samples made from these latents (standard normal in real use).
  std::vector<double> Run(const SamplingPlan& plan, const std::vector<double>& latents) {
    registers_.fill(std::vector<double>(latents.size(), kNaN));
    Initialise(plan.initial, latents);
    for (const SolverStep& step : plan.steps) Apply(step);
    return registers_[kBase];
  }

 private:
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

  void Draw(bool wanted) {
    for (double& value : registers_[kNoise]) value = wanted && normal_ ? normal_() : kNaN;
  }

  void Initialise(const InitialUpdate& initial, const std::vector<double>& latents) {
    Draw(initial.noise != 0.0);
    for (size_t i = 0; i < latents.size(); ++i) {
      double value = 0.0;
      if (initial.image != 0.0) value += initial.image * kNaN;  // no image is given here
      if (initial.latent != 0.0) value += initial.latent * latents[i];
      if (initial.noise != 0.0) value += initial.noise * registers_[kNoise][i];
      registers_[kBase][i] = registers_[kEval][i] = value;
    }
  }

  void Apply(const SolverStep& step) {
    Draw(step.uses_noise);
    for (size_t i = 0; i < registers_[kBase].size(); ++i) {
      double denoised = 0.0;
      for (const DenoiserTerm& term : step.terms) {
        denoised += term.weight * denoiser_(registers_[kEval][i], term.conditioning_sigma);
      }
      registers_[kDenoised][i] = denoised;
      const double base = Row(step.a[kNextBase], i);
      const double eval = Row(step.a[kNextEval], i);
      const double pushed = Row(step.a[kPushed], i);
      registers_[kBase][i] = base;
      registers_[kEval][i] = eval;
      if (step.push) {
        registers_[kH3][i] = registers_[kH2][i];
        registers_[kH2][i] = registers_[kH1][i];
        registers_[kH1][i] = pushed;
      }
      registers_[kDenoised][i] = kNaN;
    }
  }

  double Row(const std::array<double, kNumRegisters>& coefficients, size_t i) const {
    double sum = 0.0;
    for (int r = 0; r < kNumRegisters; ++r) {
      if (coefficients[r] != 0.0) sum += coefficients[r] * registers_[r][i];
    }
    return sum;
  }

  const ScalarDenoiser denoiser_;
  const NormalSource normal_;
  std::array<std::vector<double>, kNumRegisters> registers_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_PLAN_INTERPRETER_H_
