// Applies an evaluation to the registers of slots, element by element, as the kernels of a GPU do.
// The loops of model/backends/cpu do the same register by register. Plain C++.
#ifndef SKIPSTREAM_MODEL_DIFFUSION_SLOT_UPDATE_H_
#define SKIPSTREAM_MODEL_DIFFUSION_SLOT_UPDATE_H_

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "model/diffusion/solver_step.h"
#include "model/extent.h"

namespace skipstream {

// Lays out the registers of a slot one after another, float64 [C, H, W] each, in the order of
// Register. Noise has a separate buffer; the last place gathers the terms of the next D.
inline constexpr int kGathered = kNoise;
inline constexpr int kSlotPlanes = kNumRegisters;

// Describes one row of an evaluation.
struct RowDescriptor {
  const double* eval = nullptr;  // [C, H, W]; null: the row only fills the batch
  double weight = 0.0;           // of the row's D in the step's D
  float c_skip = 0.0f;           // DenoiserCoefficients of the term
  float c_out = 0.0f;
  float c_in = 0.0f;
  float c_noise = 0.0f;
  int32_t class_index = -1;  // -1: none
};

// Describes the update that the rows of one slot, neighbours in a batch, make to it.
struct SlotUpdate {
  double* registers = nullptr;   // [kSlotPlanes, C, H, W]; null: nothing
  const float* image = nullptr;  // [C, H, W], with a mask
  const float* mask = nullptr;   // [H, W]; null: D is not masked
  const float* noise = nullptr;  // [C, H, W], if the step reads noise
  double a[kNumUpdateRows][kNumRegisters] = {};
  int32_t first_row = 0;
  int32_t num_rows = 0;
  bool begins = false;   // the first row is the first term of a step
  bool applies = false;  // the last row is the last term: the matrix is applied
  bool push = false;
};

enum Failure : int32_t { kDenoisedNotFinite = 1, kStateNotFinite = 2 };

// Returns element i, of channel c = i / pixels, of one row's D = c_skip x + c_out f.
SKIPSTREAM_HOST_DEVICE inline float DenoisedElement(const RowDescriptor& row, double eval,
                                                    float f) {
  return row.c_skip * static_cast<float>(eval) + row.c_out * f;
}

// Applies the rows of an update to element i of its slot. `rows` are the rows of the evaluation;
// `f` is its output [rows, H, W, f_channels], whose first channels are the image. Returns the
// Failures seen.
SKIPSTREAM_HOST_DEVICE inline int32_t UpdateElement(const SlotUpdate& update,
                                                    const RowDescriptor* rows, const float* f,
                                                    int f_channels, Extent shape, int64_t i) {
  const int64_t elements = shape.elements();
  const int64_t pixel = i % shape.pixels();
  const int64_t channel = i / shape.pixels();
  double* const slot = update.registers + i;
  int32_t failures = 0;
  double gathered = update.begins ? 0.0 : slot[kGathered * elements];
  for (int32_t r = update.first_row; r < update.first_row + update.num_rows; ++r) {
    const float d =
        DenoisedElement(rows[r], slot[kEval * elements],
                        f[(r * int64_t{shape.pixels()} + pixel) * f_channels + channel]);
    if (!(fabsf(d) <= FLT_MAX)) failures |= kDenoisedNotFinite;
    gathered += rows[r].weight * static_cast<double>(d);
  }
  if (!update.applies) {
    slot[kGathered * elements] = gathered;
    return failures;
  }
  if (update.mask != nullptr) {
    const double m = update.mask[pixel];
    gathered = m * gathered + (1.0 - m) * update.image[i];
  }
  double next[kNumUpdateRows] = {};
  for (int reg = 0; reg < kNumRegisters; ++reg) {
    bool read = false;  // registers that are not read may hold anything
    for (int row = 0; row < kNumUpdateRows; ++row) read = read || update.a[row][reg] != 0.0;
    if (!read) continue;
    const double value = reg == kDenoised ? gathered
                         : reg == kNoise  ? static_cast<double>(update.noise[i])
                                          : slot[reg * elements];
    for (int row = 0; row < kNumUpdateRows; ++row) {
      if (update.a[row][reg] != 0.0) next[row] += update.a[row][reg] * value;
    }
  }
  slot[kBase * elements] = next[kNextBase];
  slot[kEval * elements] = next[kNextEval];
  slot[kDenoised * elements] = gathered;
  if (update.push) {
    slot[kH3 * elements] = slot[kH2 * elements];
    slot[kH2 * elements] = slot[kH1 * elements];
    slot[kH1 * elements] = next[kPushed];
  }
  if (!(fabs(next[kNextBase]) <= DBL_MAX) || !(fabs(next[kNextEval]) <= DBL_MAX)) {
    failures |= kStateNotFinite;
  }
  return failures;
}

// Returns the 8-bit value of a pixel, as Image defines it (base/image/image.h).
SKIPSTREAM_HOST_DEVICE inline uint8_t PixelOf(double v) {
  const double scaled = v * 127.5 + 127.5;
  return static_cast<uint8_t>(lround(scaled < 0.0 ? 0.0 : scaled > 255.0 ? 255.0 : scaled));
}

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_DIFFUSION_SLOT_UPDATE_H_
