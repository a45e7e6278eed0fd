// The registers of samples in flight (model/diffusion/solver_step.h), on a CPU. No LibTorch.
#ifndef SKIPSTREAM_TESTS_MODEL_EXECUTION_SLOT_REGISTERS_H_
#define SKIPSTREAM_TESTS_MODEL_EXECUTION_SLOT_REGISTERS_H_

#include <array>
#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/diffusion/solver_step.h"

namespace skipstream {

// Holds the registers of one slot, float64, each with the same number of elements. Memory is
// allocated on first use. For one thread.
class SlotRegisters {
 public:
  // Starts a fresh sample: every register is unwritten.
  void Reset(size_t elements);

  // Sets base and eval to the sum that `initial` describes; a span whose coefficient is 0 may be
  // empty.
  void Initialize(const InitialUpdate& initial, absl::Span<const float> image,
                  absl::Span<const double> latents, absl::Span<const double> noise);

  // Gathers the next D: starts with weight * denoised, or adds it for every term but the first.
  // Returns false if `denoised` holds a value that is not finite.
  bool AddDenoised(bool first, double weight, absl::Span<const float> denoised);

  // Inpainting: sets the gathered D to mask * D + (1 - mask) * image. `image` has the elements of a
  // register, [C, H, W], `mask` those of one channel, 0 to 1.
  void MaskDenoised(absl::Span<const float> mask, absl::Span<const float> image);

  // Stores the gathered D and applies a step's matrix. `noise` is read only if a coefficient says
  // so. Internal if the step reads a register that was never written, or base or eval become not
  // finite.
  absl::Status Apply(const SolverStep& step, absl::Span<const double> noise);

  bool written(Register reg) const { return written_[reg]; }
  // Returns the contents of a written register other than kNoise.
  absl::Span<const double> Get(Register reg) const { return registers_[reg]; }

 private:
  std::vector<double>& Writable(Register reg);
  absl::Status Combine(const std::array<double, kNumRegisters>& coefficients,
                       absl::Span<const double> noise, std::vector<double>& out) const;

  size_t elements_ = 0;
  std::array<std::vector<double>, kNumRegisters> registers_;  // [kNoise] stays empty
  std::array<bool, kNumRegisters> written_{};
  std::vector<double> gathered_;  // gathers the terms of the next D
  std::array<std::vector<double>, kNumUpdateRows>
      next_;  // results of Apply before they are committed
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_EXECUTION_SLOT_REGISTERS_H_
