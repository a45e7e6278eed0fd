#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_CPU_FEATURES_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_CPU_FEATURES_H_

#include "model/network_form.h"

namespace skipstream {

// Describes what the fused kernels may use of a processor.
struct CpuFeatures {
  bool is_amd = false;
  int family = 0;            // of CPUID, with the extended family added
  bool avx512 = false;       // F, BW, DQ and VL
  bool avx512_bf16 = false;  // products of pairs of bfloat16
  bool amx_bf16 = false;     // tiles of bfloat16, which the operating system lets programs use
};

// Reads the features of the processor that runs this. All are absent on other architectures.
CpuFeatures DetectCpuFeatures();

// Chooses the precision in which the fused kernels are faster, from a table of processors: bfloat16
// where there is AMX, and on AMD families 19h and 1Ah (Zen 4 and 5) with AVX512_BF16. On other
// processors with AVX512_BF16 its products were measured at half the speed of float32.
PrecisionChoice FasterPrecision(const CpuFeatures& cpu);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_CPU_FEATURES_H_
