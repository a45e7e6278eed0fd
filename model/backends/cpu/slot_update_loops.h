#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_SLOT_UPDATE_LOOPS_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_SLOT_UPDATE_LOOPS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "model/diffusion/slot_update.h"
#include "model/extent.h"

namespace skipstream::cpu {

// Memory for the results of a matrix until they replace the registers it reads.
using UpdateScratch = std::array<std::vector<double>, kNumUpdateRows>;

// Does UpdateElement() for every element of a slot, in loops over whole registers. Every product
// and every sum is rounded.
// `f`: [rows, H, W, f_channels] of the
// evaluation. Returns the Failures seen.
int32_t UpdateSlot(const SlotUpdate& update, const RowDescriptor* rows, const float* f,
                   int f_channels, Extent shape, UpdateScratch& scratch);

// Writes the network's input of one row to `x` [H, W, C]: c_in * eval, or zeros without registers.
void GatherRow(const RowDescriptor& row, Extent shape, float* x);

}  // namespace skipstream::cpu

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_SLOT_UPDATE_LOOPS_H_
