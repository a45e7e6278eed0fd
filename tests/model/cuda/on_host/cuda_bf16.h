#ifndef SKIPSTREAM_TESTS_MODEL_CUDA_ON_HOST_CUDA_BF16_H_
#define SKIPSTREAM_TESTS_MODEL_CUDA_ON_HOST_CUDA_BF16_H_

#include "c10/util/BFloat16.h"

using __nv_bfloat16 = c10::BFloat16;  // NOLINT(readability-identifier-naming): CUDA's name

#endif  // SKIPSTREAM_TESTS_MODEL_CUDA_ON_HOST_CUDA_BF16_H_
