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

#include "model/diffusion/solver_step.h"

namespace skipstream {

// The denoised value of `x` at noise level `sigma`.
using ScalarDenoiser = std::function<double(double x, double sigma)>;
// The same for one term of a step: which network, with the class or without.
using TermDenoiser = std::function<double(double x, double sigma, const DenoiserTerm& term)>;
// The next standard normal number.
using NormalSource = std::function<double()>;

class PlanInterpreter {
 public:
  // `normal` may be empty for plans that draw no noise. It is called once per sample and draw, in
  // the order of the samples.
  explicit PlanInterpreter(ScalarDenoiser denoiser, NormalSource normal = {})
      : PlanInterpreter(TermDenoiser([denoiser = std::move(denoiser)](double x, double /*sigma*/,
                                                                      const DenoiserTerm& term) {
                          return denoiser(x, term.conditioning_sigma);
                        }),
                        std::move(normal)) {}
  explicit PlanInterpreter(TermDenoiser denoiser, NormalSource normal = {})
      : denoiser_(std::move(denoiser)), normal_(std::move(normal)) {}

  // One value of the given image per sample; with a mask (0 to 1) every D is masked.
  void GiveInitImage(std::vector<double> image, std::vector<double> mask = {}) {
    image_ = std::move(image);
    mask_ = std::move(mask);
  }

  // The samples made from these latents (standard normal in real use).
  std::vector<double> Run(const SamplingPlan& plan, const std::vector<double>& latents) {
    Start(plan, latents);
    for (const SolverStep& step : plan.steps) Apply(step);
    return Get(kBase);
  }

  // --- Step by step ---

  void Start(const SamplingPlan& plan, const std::vector<double>& latents) {
    registers_.fill(std::vector<double>(latents.size(), kNaN));
    const InitialUpdate& initial = plan.initial;
    Draw(initial.noise != 0.0);
    for (size_t i = 0; i < latents.size(); ++i) {
      double value = 0.0;
      if (initial.image != 0.0) value += initial.image * (image_.empty() ? kNaN : image_[i]);
      if (initial.latent != 0.0) value += initial.latent * latents[i];
      if (initial.noise != 0.0) value += initial.noise * registers_[kNoise][i];
      registers_[kBase][i] = registers_[kEval][i] = value;
    }
  }

  void Apply(const SolverStep& step) {
    Draw(step.uses_noise);
    for (size_t i = 0; i < registers_[kBase].size(); ++i) {
      registers_[kDenoised][i] = Denoise(step, i);
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

  void Set(Register reg, std::vector<double> values) { registers_[reg] = std::move(values); }
  const std::vector<double>& Get(Register reg) const { return registers_[reg]; }

 private:
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

  void Draw(bool wanted) {
    for (double& value : registers_[kNoise]) value = wanted && normal_ ? normal_() : kNaN;
  }

  double Denoise(const SolverStep& step, size_t i) const {
    double denoised = 0.0;
    for (const DenoiserTerm& term : step.terms) {
      denoised += term.weight * denoiser_(registers_[kEval][i], step.sigma, term);
    }
    if (mask_.empty()) return denoised;
    return mask_[i] * denoised + (1.0 - mask_[i]) * image_[i];
  }

  double Row(const std::array<double, kNumRegisters>& coefficients, size_t i) const {
    double sum = 0.0;
    for (int r = 0; r < kNumRegisters; ++r) {
      if (coefficients[r] != 0.0) sum += coefficients[r] * registers_[r][i];
    }
    return sum;
  }

  const TermDenoiser denoiser_;
  const NormalSource normal_;
  std::vector<double> image_;
  std::vector<double> mask_;
  std::array<std::vector<double>, kNumRegisters> registers_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_PLAN_INTERPRETER_H_
