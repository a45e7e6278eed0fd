#include "model/cpu/kernels_impl.h"

namespace skipstream::cpu {

SKIPSTREAM_INSTANTIATE_CPU_KERNELS(float);

}  // namespace skipstream::cpu
