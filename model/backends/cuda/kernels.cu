#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "model/backends/cuda/kernels.h"

// The tests compile this file for a CPU as well (tests/model/backends/cuda/on_host): no launch but by
// Launch(), and shared memory by SharedMemory() or of a fixed size.

namespace skipstream::cuda {
namespace {

constexpr int kThreads = 256;
// Vectors of channels one thread of a block normalizes, or sums up, one after another.
constexpr int kVectorsPerThread = 4;

__host__ __device__ int Ceil(int a, int b) { return (a + b - 1) / b; }

// Pixels one block normalizes: with many channels fewer, so that there are blocks enough.
__host__ __device__ int TileImage(int vectors) {
  return Ceil(kThreads * kVectorsPerThread, vectors);
}
// Threads side by side that share the pixels of a chunk to sum up, each with the same channels.
__host__ __device__ int Lanes(int vectors) { return vectors < kThreads ? kThreads / vectors : 1; }
__host__ __device__ int ChunkPixels(int vectors) { return Lanes(vectors) * kVectorsPerThread; }

#ifdef __CUDACC__
__device__ float* SharedMemory() {
  extern __shared__ __align__(16) float memory[];
  return memory;
}

// Launches on a grid of `blocks` blocks with this number of threads and bytes of shared memory.
template <typename... Parameters, typename... Arguments>
int Launch(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared,
           cudaStream_t stream, const Arguments&... arguments) {
  if (shared > 48 * 1024) {  // more than every kernel may have has to be asked for
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
  }
  kernel<<<grid, threads, shared, stream>>>(arguments...);
  return cudaGetLastError();
}
#else
template <typename... Parameters, typename... Arguments>
int Launch(void (*kernel)(Parameters...), dim3 grid, int threads, size_t shared,
           cudaStream_t /*stream*/, const Arguments&... arguments) {
  RunOnHost(grid, threads, shared, [&] { kernel(arguments...); });
  return cudaSuccess;
}
#endif

template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

template <int N, typename T>
__device__ void Load(const T* from, float (&to)[N]) {
  const auto pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = static_cast<float>(pack.v[i]);
}

// Leaves in `values` the rounded values that are stored.
template <int N, typename T>
__device__ void Store(float (&values)[N], T* to) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    pack.v[i] = static_cast<T>(values[i]);
    values[i] = static_cast<float>(pack.v[i]);
  }
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Calls read(pixel, weight) for each pixel of the image that pixel (y, x) after a change of
// resolution combines. `width` is the one before it.
template <typename Read>
__device__ void ForSources(Sampling sampling, int y, int x, int width, const Read& read) {
  if (sampling == Sampling::kNone) {
    read(y * width + x, 1.0f);
  } else if (sampling == Sampling::kUp) {
    read(y / 2 * width + x / 2, 1.0f);
  } else {
    for (int i = 0; i < 4; ++i) read((2 * y + i / 2) * width + 2 * x + i % 2, 0.25f);
  }
}

// One block per tile of pixels of an image. First every thread turns sums of channels into the
// factor and the offset of a channel, which shared memory keeps.
template <int N, typename T, typename Out>
__global__ void NormalizeKernel(Norm norm) {
  float* const shared = SharedMemory();
  const int channels = norm.x.channels + norm.skip.channels;
  const int in_group = channels / norm.groups;
  float* const factor = shared;
  float* const offset = shared + channels;
  float* const mean = offset + channels;
  float* const inverse = mean + norm.groups;
  const int b = blockIdx.y;
  const float rho = norm.skip.channels > 0 ? norm.rho[b * norm.rho_stride] : 0.0f;
  const float* const x_sums = norm.x.sums + int64_t{2} * b * norm.x.channels;
  const float* const skip_sums = norm.skip.sums + int64_t{2} * b * norm.skip.channels;

  const double count = static_cast<double>(norm.height) * norm.width * in_group;
  for (int g = threadIdx.x; g < norm.groups; g += blockDim.x) {
    double sum = 0.0;
    double squares = 0.0;
    for (int c = g * in_group; c < (g + 1) * in_group; ++c) {
      if (c < norm.x.channels) {
        sum += x_sums[c];
        squares += x_sums[norm.x.channels + c];
      } else {
        const int k = c - norm.x.channels;
        sum += static_cast<double>(rho) * skip_sums[k];
        squares += static_cast<double>(rho) * rho * skip_sums[norm.skip.channels + k];
      }
    }
    const double m = sum / count;
    const double variance = fmax(squares / count - m * m, 0.0);
    mean[g] = static_cast<float>(m);
    inverse[g] = static_cast<float>(rsqrt(variance + static_cast<double>(norm.epsilon)));
  }
  __syncthreads();
  for (int c = threadIdx.x; c < channels; c += blockDim.x) {
    const int g = c / in_group;
    float multiplier = inverse[g] * norm.weight[c];
    float addend = norm.bias[c] - mean[g] * multiplier;
    if (norm.scale != nullptr) {
      const float scale = 1.0f + norm.scale[b * norm.scale_stride + c];
      multiplier *= scale;
      addend = addend * scale + norm.shift[b * norm.shift_stride + c];
    }
    if (norm.added != nullptr) addend += norm.added[b * norm.added_stride + c] * multiplier;
    factor[c] = c < norm.x.channels ? multiplier : multiplier * rho;
    offset[c] = addend;
  }
  __syncthreads();

  const int out_width = norm.sampling == Sampling::kUp     ? 2 * norm.width
                        : norm.sampling == Sampling::kDown ? norm.width / 2
                                                           : norm.width;
  const int out_height = norm.sampling == Sampling::kUp     ? 2 * norm.height
                         : norm.sampling == Sampling::kDown ? norm.height / 2
                                                            : norm.height;
  const int pixels = out_width * out_height;
  const int vectors = channels / N;
  const int first = blockIdx.x * TileImage(vectors);
  const int tile = min(TileImage(vectors), pixels - first);
  const int64_t in_pixels = int64_t{norm.height} * norm.width;
  for (int i = threadIdx.x; i < tile * vectors; i += blockDim.x) {
    const int pixel = first + i / vectors;
    const int c = i % vectors * N;
    float sum[N] = {};
    float factors[N];
    float offsets[N];
    Load(factor + c, factors);
    Load(offset + c, offsets);
    ForSources(norm.sampling, pixel / out_width, pixel % out_width, norm.width,
               [&](int source, float weight) {
                 const bool in_x = c < norm.x.channels;
                 const NormOperand& operand = in_x ? norm.x : norm.skip;
                 const T* const from = static_cast<const T*>(operand.x) +
                                       (b * in_pixels + source) * operand.channels +
                                       (in_x ? c : c - norm.x.channels);
                 float v[N];
                 Load(from, v);
#pragma unroll
                 for (int k = 0; k < N; ++k) {
                   float y = v[k] * factors[k] + offsets[k];
                   if (norm.silu) y = y / (1.0f + expf(-y));
                   sum[k] += weight * y;
                 }
               });
    Store(sum, static_cast<Out*>(norm.out) + (int64_t{b} * pixels + pixel) * channels + c);
  }
}

// One block per chunk of an image's pixels: lanes of threads share the channels, pixel after pixel.
// The last block of an image to finish adds up what all of them left, in their order.
template <int N, typename T>
__global__ void AddUpKernel(Sum sum) {
  float* const shared = SharedMemory();  // [lanes, 2, C]
  const int channels = sum.channels;
  const int vectors = channels / N;
  const int lanes = Lanes(vectors);
  const int lane = threadIdx.x / vectors;
  const int b = blockIdx.y;
  const int chunks = gridDim.x;
  const int pixels = sum.height * sum.width;
  const int first = blockIdx.x * ChunkPixels(vectors);
  const int last = min(first + ChunkPixels(vectors), pixels);
  const float rho = sum.second != nullptr ? sum.rho[b * sum.rho_stride] : 0.0f;
  const int shortcut_width = sum.sampling == Sampling::kUp     ? sum.width / 2
                             : sum.sampling == Sampling::kDown ? sum.width * 2
                                                               : sum.width;
  const int64_t shortcut_pixels = sum.sampling == Sampling::kUp     ? pixels / 4
                                  : sum.sampling == Sampling::kDown ? int64_t{4} * pixels
                                                                    : pixels;

  // With more channels than threads, a thread takes several vectors of them.
  for (int vector = threadIdx.x % vectors; vector < vectors && lane < lanes;
       vector += blockDim.x) {
    const int c = vector * N;
    float bias[N] = {};
    if (sum.bias != nullptr) {
#pragma unroll
      for (int k = 0; k < N; ++k) bias[k] = sum.bias[b * sum.bias_stride + c + k];
    }
    float total[N] = {};
    float squares[N] = {};
    for (int pixel = first + lane; pixel < last; pixel += lanes) {
      const int64_t place = (int64_t{b} * pixels + pixel) * channels + c;
      float v[N];
      Load(static_cast<const T*>(sum.main) + place, v);
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] += bias[k];
      if (sum.shortcut != nullptr) {
        ForSources(sum.sampling, pixel / sum.width, pixel % sum.width, shortcut_width,
                   [&](int source, float weight) {
                     float s[N];
                     Load(static_cast<const T*>(sum.shortcut) +
                              (b * shortcut_pixels + source) * channels + c,
                          s);
#pragma unroll
                     for (int k = 0; k < N; ++k) v[k] += weight * s[k];
                   });
      }
      if (sum.second != nullptr) {
        float s[N];
        Load(static_cast<const T*>(sum.second) + place, s);
#pragma unroll
        for (int k = 0; k < N; ++k) v[k] += rho * s[k];
      }
      if (sum.out != nullptr) {
#pragma unroll
        for (int k = 0; k < N; ++k) v[k] *= sum.scale;
        Store(v, static_cast<T*>(sum.out) + place);
      }
#pragma unroll
      for (int k = 0; k < N; ++k) {
        total[k] += v[k];
        squares[k] += v[k] * v[k];
      }
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      shared[(2 * lane) * channels + c + k] = total[k];
      shared[(2 * lane + 1) * channels + c + k] = squares[k];
    }
  }
  __syncthreads();
  float* const partial = sum.partial + (int64_t{b} * chunks + blockIdx.x) * 2 * channels;
  for (int i = threadIdx.x; i < 2 * channels; i += blockDim.x) {
    float whole = 0.0f;
    for (int l = 0; l < lanes; ++l) whole += shared[2 * l * channels + i];
    partial[i] = whole;
  }

  __shared__ bool is_last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(&sum.arrived[b], 1) == chunks - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (int i = threadIdx.x; i < 2 * channels; i += blockDim.x) {
    double whole = 0.0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      whole += __ldcg(sum.partial + (int64_t{b} * chunks + chunk) * 2 * channels + i);
    }
    sum.sums[int64_t{2} * b * channels + i] = static_cast<float>(whole);
  }
  if (threadIdx.x == 0) sum.arrived[b] = 0;
}

__global__ void GatherKernel(const RowDescriptor* rows, Extent shape, int labels_per_row,
                             float* x, float* c_noise, float* labels) {
  const int b = blockIdx.y;
  const RowDescriptor row = rows[b];
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const bool used = row.eval != nullptr;
  if (i < shape.elements()) {  // in the order of x: [H * W, C]
    const int64_t from = i % shape.channels * shape.pixels() + i / shape.channels;
    x[b * shape.elements() + i] = used ? row.c_in * static_cast<float>(row.eval[from]) : 0.0f;
  }
  if (i < labels_per_row) {
    labels[int64_t{b} * labels_per_row + i] = used && i == row.class_index ? 1.0f : 0.0f;
  }
  if (i == 0) c_noise[b] = used ? row.c_noise : 0.0f;
}

__global__ void UpdateKernel(const SlotUpdate* updates, const RowDescriptor* rows, Extent shape,
                             const float* f, int f_channels, int32_t* failures) {
  const SlotUpdate update = updates[blockIdx.y];
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (update.registers == nullptr || i >= shape.elements()) return;
  const int32_t seen = UpdateElement(update, rows, f, f_channels, shape, i);
  if (seen != 0) atomicOr(&failures[blockIdx.y], seen);
}

__global__ void ToImageKernel(const double* values, Extent shape, uint8_t* pixels) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= shape.elements()) return;
  pixels[i] = PixelOf(values[i % shape.channels * shape.pixels() + i / shape.channels]);
}

int Blocks(int64_t items) { return static_cast<int>((items + kThreads - 1) / kThreads); }

template <int N, typename T, typename Out>
int LaunchNormalize(const Norm& norm, cudaStream_t stream) {
  const int channels = norm.x.channels + norm.skip.channels;
  const int in_pixels = norm.height * norm.width;
  const int pixels = norm.sampling == Sampling::kUp     ? 4 * in_pixels
                     : norm.sampling == Sampling::kDown ? in_pixels / 4
                                                        : in_pixels;
  const size_t shared = sizeof(float) * 2 * (static_cast<size_t>(channels) + norm.groups);
  return Launch(NormalizeKernel<N, T, Out>,
                dim3(Ceil(pixels, TileImage(channels / N)), norm.batch), kThreads, shared, stream,
                norm);
}

template <int N, typename T>
int LaunchAddUp(const Sum& sum, cudaStream_t stream) {
  const int vectors = sum.channels / N;
  const int lanes = Lanes(vectors);
  const int threads = min(kThreads, Ceil(lanes * vectors, 32) * 32);
  const size_t shared = sizeof(float) * 2 * lanes * static_cast<size_t>(sum.channels);
  return Launch(AddUpKernel<N, T>, dim3(SumChunks(sum), sum.batch), threads, shared, stream, sum);
}

// Channels one thread takes at a time: 16 bytes, or 8, where the channel counts are multiples.
int VectorOf(Type type, int channels, int more_channels = 0) {
  const auto fits = [&](int n) { return channels % n == 0 && more_channels % n == 0; };
  return type == Type::kBFloat16 && fits(8) ? 8 : fits(4) ? 4 : 1;
}

}  // namespace

const char* ErrorText(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

int Normalize(const Norm& norm, CUstream_st* stream) {
  const int vector = VectorOf(norm.type, norm.x.channels, norm.skip.channels);
  if (norm.type == Type::kFloat32) {
    return vector == 4 ? LaunchNormalize<4, float, float>(norm, stream)
                       : LaunchNormalize<1, float, float>(norm, stream);
  }
  const auto launch = [&](auto type) {
    using Out = decltype(type);
    return vector == 8   ? LaunchNormalize<8, __nv_bfloat16, Out>(norm, stream)
           : vector == 4 ? LaunchNormalize<4, __nv_bfloat16, Out>(norm, stream)
                         : LaunchNormalize<1, __nv_bfloat16, Out>(norm, stream);
  };
  return norm.out_type == Type::kFloat32 ? launch(float()) : launch(__nv_bfloat16());
}

int SumChunks(const Sum& sum) {
  return Ceil(sum.height * sum.width,
              ChunkPixels(sum.channels / VectorOf(sum.type, sum.channels)));
}

int AddUp(const Sum& sum, CUstream_st* stream) {
  const int vector = VectorOf(sum.type, sum.channels);
  if (sum.type == Type::kFloat32) {
    return vector == 4 ? LaunchAddUp<4, float>(sum, stream) : LaunchAddUp<1, float>(sum, stream);
  }
  return vector == 8   ? LaunchAddUp<8, __nv_bfloat16>(sum, stream)
         : vector == 4 ? LaunchAddUp<4, __nv_bfloat16>(sum, stream)
                       : LaunchAddUp<1, __nv_bfloat16>(sum, stream);
}

int Gather(const RowDescriptor* rows, int count, Extent shape, int labels_per_row, float* x,
           float* c_noise, float* labels, CUstream_st* stream) {
  const int64_t items = shape.elements() > labels_per_row ? shape.elements() : labels_per_row;
  return Launch(GatherKernel, dim3(Blocks(items), count), kThreads, 0, stream, rows, shape, labels_per_row, x,
                c_noise, labels);
}

int Update(const SlotUpdate* updates, const RowDescriptor* rows, int count, Extent shape,
           const float* f, int f_channels, int32_t* failures, CUstream_st* stream) {
  const cudaError_t cleared =
      cudaMemsetAsync(failures, 0, static_cast<size_t>(count) * sizeof(int32_t), stream);
  if (cleared != cudaSuccess) return cleared;
  return Launch(UpdateKernel, dim3(Blocks(shape.elements()), count), kThreads, 0, stream, updates, rows, shape,
                f, f_channels, failures);
}

int ToImage(const double* values, Extent shape, uint8_t* pixels, CUstream_st* stream) {
  return Launch(ToImageKernel, dim3(Blocks(shape.elements())), kThreads, 0, stream, values, shape, pixels);
}

}  // namespace skipstream::cuda
