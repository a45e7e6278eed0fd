#include "model/backends/cpu/kernels_impl.h"

namespace skipstream::cpu {

SKIPSTREAM_INSTANTIATE_CPU_KERNELS(BFloat16);

}  // namespace skipstream::cpu
