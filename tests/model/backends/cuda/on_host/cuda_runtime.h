// As much of CUDA as model/backends/cuda/kernels.cu needs, on a CPU: the threads of a block are
// fibers that take turns at barriers, and blocks run one after another.
#ifndef SKIPSTREAM_TESTS_MODEL_BACKENDS_CUDA_ON_HOST_CUDA_RUNTIME_H_
#define SKIPSTREAM_TESTS_MODEL_BACKENDS_CUDA_ON_HOST_CUDA_RUNTIME_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// CUDA's names, which break every rule for ours.
// NOLINTBEGIN(bugprone-reserved-identifier,google-global-names-in-headers,readability-identifier-naming)
#define __global__
#define __device__
#define __host__
#define __shared__ static  // of one block at a time

struct dim3 {
  explicit dim3(unsigned x_blocks, unsigned y_blocks = 1) : x(x_blocks), y(y_blocks) {}
  unsigned x;
  unsigned y;
};
// NOLINTEND(bugprone-reserved-identifier,google-global-names-in-headers,readability-identifier-naming)

namespace skipstream::cuda {

struct Index {
  unsigned x = 0;
  unsigned y = 0;
};

// In which order blocks, and threads between two barriers, have their turns: what comes out must
// not depend on it.
enum class Turns { kForward, kBackward };
void SetTurns(Turns turns);

void RunOnHost(dim3 grid, unsigned threads, size_t shared_bytes, const std::function<void()>& body);
float* SharedMemory();

}  // namespace skipstream::cuda

// NOLINTBEGIN(bugprone-reserved-identifier,google-global-names-in-headers,readability-identifier-naming)
extern skipstream::cuda::Index threadIdx;
extern skipstream::cuda::Index blockIdx;
extern skipstream::cuda::Index blockDim;
extern skipstream::cuda::Index gridDim;
void __syncthreads();
inline void __threadfence() {}

using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess = 0 };
inline const char* cudaGetErrorString(cudaError_t /*error*/) { return "no error"; }
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t /*stream*/) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}

template <typename T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
template <typename T>
void atomicOr(T* to, T value) {
  *to |= value;
}
template <typename T>
T __ldcg(const T* from) {
  return *from;
}
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
using std::max;
using std::min;
// NOLINTEND(bugprone-reserved-identifier,google-global-names-in-headers,readability-identifier-naming)

#endif  // SKIPSTREAM_TESTS_MODEL_BACKENDS_CUDA_ON_HOST_CUDA_RUNTIME_H_
