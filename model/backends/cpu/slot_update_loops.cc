#include "model/backends/cpu/slot_update_loops.h"

#include <algorithm>
#include <bit>

namespace skipstream::cpu {
namespace {

// Comparing bits lets the compiler use vectors.
bool AllFinite(const double* values, int64_t count) {
  constexpr uint64_t kExponent = 0x7ff0000000000000u;
  uint64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found |= static_cast<uint64_t>((std::bit_cast<uint64_t>(values[i]) & kExponent) == kExponent);
  }
  return found == 0;
}

// Adds weight * D of one row to `gathered` [C, H, W], or starts with it. `f`: [H, W, f_channels].
// False if a value of D is not finite.
bool AddDenoised(const RowDescriptor& row, const double* eval, const float* f, int f_channels,
                 Extent shape, bool starts, double* gathered) {
  constexpr uint32_t kExponent = 0x7f800000u;
  uint32_t found = 0;
  const int pixels = shape.pixels();
  const double weight = row.weight;
  for (int c = 0; c < shape.channels; ++c) {
    const double* const from = eval + int64_t{c} * pixels;
    double* const to = gathered + int64_t{c} * pixels;
    for (int p = 0; p < pixels; ++p) {
      const float d = DenoisedElement(row, from[p], f[int64_t{p} * f_channels + c]);
      found |= static_cast<uint32_t>((std::bit_cast<uint32_t>(d) & kExponent) == kExponent);
      to[p] = (starts ? 0.0 : to[p]) + weight * static_cast<double>(d);
    }
  }
  return found == 0;
}

}  // namespace

int32_t UpdateSlot(const SlotUpdate& update, const RowDescriptor* rows, const float* f,
                   int f_channels, Extent shape, UpdateScratch& scratch) {
  const int64_t elements = shape.elements();
  const auto plane = [&](int reg) { return update.registers + reg * elements; };
  double* const gathered = plane(kGathered);
  int32_t failures = 0;
  for (int32_t r = update.first_row; r < update.first_row + update.num_rows; ++r) {
    const bool starts = update.begins && r == update.first_row;
    if (!AddDenoised(rows[r], plane(kEval), f + int64_t{r} * shape.pixels() * f_channels,
                     f_channels, shape, starts, gathered)) {
      failures |= kDenoisedNotFinite;
    }
  }
  if (!update.applies) return failures;

  if (update.mask != nullptr) {
    for (int c = 0; c < shape.channels; ++c) {
      double* const d = gathered + int64_t{c} * shape.pixels();
      const float* const image = update.image + int64_t{c} * shape.pixels();
      for (int p = 0; p < shape.pixels(); ++p) {
        const double m = update.mask[p];
        d[p] = m * d[p] + (1.0 - m) * image[p];
      }
    }
  }
  const int num_rows = update.push ? kNumUpdateRows : kPushed;
  for (int row = 0; row < num_rows; ++row) {
    std::vector<double>& next = scratch[row];
    next.assign(elements, 0.0);
    for (int reg = 0; reg < kNumRegisters; ++reg) {
      const double coefficient = update.a[row][reg];
      if (coefficient == 0.0) continue;
      if (reg == kNoise) {
        for (int64_t i = 0; i < elements; ++i) {
          next[i] += coefficient * static_cast<double>(update.noise[i]);
        }
      } else {
        const double* const source = reg == kDenoised ? gathered : plane(reg);
        for (int64_t i = 0; i < elements; ++i) next[i] += coefficient * source[i];
      }
    }
  }
  std::copy_n(gathered, elements, plane(kDenoised));
  std::copy_n(scratch[kNextBase].data(), elements, plane(kBase));
  std::copy_n(scratch[kNextEval].data(), elements, plane(kEval));
  if (update.push) {
    std::copy_n(plane(kH2), elements, plane(kH3));
    std::copy_n(plane(kH1), elements, plane(kH2));
    std::copy_n(scratch[kPushed].data(), elements, plane(kH1));
  }
  if (!AllFinite(plane(kBase), elements) || !AllFinite(plane(kEval), elements)) {
    failures |= kStateNotFinite;
  }
  return failures;
}

void GatherRow(const RowDescriptor& row, Extent shape, float* x) {
  if (row.eval == nullptr) {
    std::fill_n(x, shape.elements(), 0.0f);
    return;
  }
  const int pixels = shape.pixels();
  for (int c = 0; c < shape.channels; ++c) {
    const double* const from = row.eval + int64_t{c} * pixels;
    for (int p = 0; p < pixels; ++p) {
      x[int64_t{p} * shape.channels + c] = row.c_in * static_cast<float>(from[p]);
    }
  }
}

}  // namespace skipstream::cpu
