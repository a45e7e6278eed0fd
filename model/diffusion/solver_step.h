// Defines the plans that samplers compile to: plain numbers, no tensors.
//
// Per sample the executor keeps float64 registers, each shaped like the image [C, H, W]:
//   base      the committed state
//   eval      the network's next input
//   h1..h3    history, newest first
// and two that live for one step: D (the denoised image) and noise (standard normal).
//
// A plan starts with an InitialUpdate, which needs no evaluation:
//   base = eval = image * init_image + latent * latents + noise * fresh_noise
// Then every step gathers its denoiser terms, all evaluated at `eval` and `sigma`,
//   D = sum_t terms[t].weight * network(eval, terms[t])
//   D = mask * D + (1 - mask) * init_image      only when inpainting
// and applies a 3x7 matrix to r = (base, eval, D, h1, h2, h3, noise):
//   base' = a[0] . r     eval' = a[1] . r     pushed = a[2] . r
//   if push: (h1, h2, h3) = (pushed, h1, h2)
// After the last step `base` is the image.
//
// A coefficient of exactly 0 means the register is not read: 0 * NaN is NaN, and the registers of a
// fresh slot hold nothing.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SOLVER_STEP_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SOLVER_STEP_H_

#include <array>
#include <vector>

namespace skipstream {

enum Register : int { kBase = 0, kEval, kDenoised, kH1, kH2, kH3, kNoise };
inline constexpr int kNumRegisters = 7;

enum UpdateRow : int { kNextBase = 0, kNextEval, kPushed };
inline constexpr int kNumUpdateRows = 3;

using StepMatrix = std::array<std::array<double, kNumRegisters>, kNumUpdateRows>;

// Turns a raw network F into a denoiser (EDM, arXiv 2206.00364, Eq. 7):
//   D = c_skip x + c_out F(c_in x; c_noise)
struct DenoiserCoefficients {
  float c_skip = 0.0f;
  float c_out = 0.0f;
  float c_in = 0.0f;
  float c_noise = 0.0f;
};

// Describes one denoiser term: one row of a batch.
struct DenoiserTerm {
  double weight = 1.0;
  // Index of the network among the sample's: 0 the model, 1 the guide (autoguidance).
  int network = 0;
  // False: the row is evaluated without its class (classifier-free guidance).
  bool conditional = true;
  // Noise level that the network is given; differs from the step's sigma only for timestep-aligned
  // schedules.
  double conditioning_sigma = 0.0;
  // Give the term's network its D at these levels; executors know no parametrization.
  DenoiserCoefficients coefficients = {};
  // Skip coefficients [K], index 0 the deepest skip (the first one the decoder consumes).
  std::vector<float> rho;
};

struct SolverStep {
  double sigma = 0.0;               // noise level of `eval`, > 0
  std::vector<DenoiserTerm> terms;  // at least one
  StepMatrix a{};
  bool push = false;
  bool uses_noise = false;  // some a[.][kNoise] != 0: the executor draws fresh noise
};

struct InitialUpdate {
  double image = 0.0;
  double latent = 0.0;
  double noise = 0.0;
};

// Immutable once compiled; shared by all samples of a request and by the batches in flight.
struct SamplingPlan {
  InitialUpdate initial;
  std::vector<SolverStep> steps;

  // Returns the evaluations as users count them (a guided one counts once).
  int nfe() const { return static_cast<int>(steps.size()); }
  // Returns the rows that the plan puts into batches (a guided evaluation costs two): the unit of
  // cost.
  int rows() const {
    int total = 0;
    for (const SolverStep& step : steps) total += static_cast<int>(step.terms.size());
    return total;
  }
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SOLVER_STEP_H_
