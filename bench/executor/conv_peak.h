#ifndef SKIPSTREAM_BENCH_EXECUTOR_CONV_PEAK_H_
#define SKIPSTREAM_BENCH_EXECUTOR_CONV_PEAK_H_

#include "model/network_form.h"

namespace skipstream::bench {

// The most floating-point operations a second that 3x3 convolutions of sizes that suit the machine
// reach here and now, by LibTorch (oneDNN, channels-last) or by our own kernel, whichever is
// faster; 0 if this CPU has no fast products of that kind.
double ConvolutionPeak(Precision precision, int threads);

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_EXECUTOR_CONV_PEAK_H_
