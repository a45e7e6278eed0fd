#include "tests/model/execution/slot_registers.h"

#include <bit>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

// Comparing bits lets the compiler use vectors.
bool AllFinite(absl::Span<const float> values) {
  uint32_t found = 0;
  for (float v : values) found |= (std::bit_cast<uint32_t>(v) & 0x7f800000u) == 0x7f800000u;
  return found == 0;
}

bool AllFinite(absl::Span<const double> values) {
  constexpr uint64_t kExponent = 0x7ff0000000000000u;
  uint64_t found = 0;
  for (double v : values) found |= (std::bit_cast<uint64_t>(v) & kExponent) == kExponent;
  return found == 0;
}

}  // namespace

void SlotRegisters::Reset(size_t elements) {
  elements_ = elements;
  written_.fill(false);
}

std::vector<double>& SlotRegisters::Writable(Register reg) {
  registers_[reg].resize(elements_);
  written_[reg] = true;
  return registers_[reg];
}

void SlotRegisters::Initialize(const InitialUpdate& initial, absl::Span<const float> image,
                               absl::Span<const double> latents, absl::Span<const double> noise) {
  std::vector<double>& base = Writable(kBase);
  for (size_t i = 0; i < elements_; ++i) {
    base[i] = (initial.image != 0.0 ? initial.image * image[i] : 0.0) +
              (initial.latent != 0.0 ? initial.latent * latents[i] : 0.0) +
              (initial.noise != 0.0 ? initial.noise * noise[i] : 0.0);
  }
  Writable(kEval) = base;
}

bool SlotRegisters::AddDenoised(bool first, double weight, absl::Span<const float> denoised) {
  gathered_.resize(elements_);
  for (size_t i = 0; i < elements_; ++i) {
    const double term = weight * static_cast<double>(denoised[i]);
    gathered_[i] = first ? term : gathered_[i] + term;
  }
  return AllFinite(denoised);
}

void SlotRegisters::MaskDenoised(absl::Span<const float> mask, absl::Span<const float> image) {
  const size_t plane = mask.size();
  for (size_t i = 0; i < elements_; ++i) {
    const double m = mask[i % plane];
    gathered_[i] = m * gathered_[i] + (1.0 - m) * image[i];
  }
}

absl::Status SlotRegisters::Combine(const std::array<double, kNumRegisters>& coefficients,
                                    absl::Span<const double> noise,
                                    std::vector<double>& out) const {
  out.assign(elements_, 0.0);
  for (int reg = 0; reg < kNumRegisters; ++reg) {
    const double coefficient = coefficients[reg];
    if (coefficient == 0.0) continue;
    const absl::Span<const double> source = reg == kNoise ? noise : Get(Register{reg});
    if (reg == kNoise ? source.size() != elements_ : !written_[reg]) {
      return absl::InternalError(
          absl::StrCat("the step reads register ", reg, ", which holds nothing yet"));
    }
    for (size_t i = 0; i < elements_; ++i) out[i] += coefficient * source[i];
  }
  return absl::OkStatus();
}

absl::Status SlotRegisters::Apply(const SolverStep& step, absl::Span<const double> noise) {
  registers_[kDenoised].swap(gathered_);
  written_[kDenoised] = true;
  const int rows = step.push ? kNumUpdateRows : kPushed;
  for (int row = 0; row < rows; ++row) {
    if (absl::Status status = Combine(step.a[row], noise, next_[row]); !status.ok()) return status;
  }
  registers_[kBase].swap(next_[kNextBase]);
  registers_[kEval].swap(next_[kNextEval]);
  if (step.push) {
    // The oldest entry's memory takes the next push.
    registers_[kH3].swap(registers_[kH2]);
    registers_[kH2].swap(registers_[kH1]);
    registers_[kH1].swap(next_[kPushed]);
    written_[kH3] = written_[kH2];
    written_[kH2] = written_[kH1];
    written_[kH1] = true;
  }
  if (!AllFinite(Get(kBase)) || !AllFinite(Get(kEval))) {
    return absl::InternalError("the solver's state is not finite");
  }
  return absl::OkStatus();
}

}  // namespace skipstream
