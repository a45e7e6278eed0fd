#ifndef SKIPSTREAM_BENCH_EXECUTOR_FLOPS_H_
#define SKIPSTREAM_BENCH_EXECUTOR_FLOPS_H_

#include "model/families/edm_unet/model_file.h"

namespace skipstream::bench {

// Floating-point operations of the products of one row: convolutions, attention and the blocks'
// affine layers, a multiplication and an addition counting 2. The rest is a few per cent.
double FlopsPerRow(const ModelDescription& model);

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_EXECUTOR_FLOPS_H_
