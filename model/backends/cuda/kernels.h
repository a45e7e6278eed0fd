// Launches the kernels of CudaBackend on a stream; model/backends/device.h describes the results.
// Every pointer points to the device's memory. Each function returns a cudaError_t (0: launched);
// later errors show at the next wait.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNELS_H_
#define SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNELS_H_

#include <cstdint>

#include "model/diffusion/slot_update.h"

struct CUstream_st;  // cudaStream_t

namespace skipstream::cuda {

// Returns the text of an error that the functions below return.
const char* ErrorText(int error);

enum class Type { kFloat32, kBFloat16 };
enum class Sampling { kNone, kUp, kDown };

// Holds values of an image [H, W, C] and, per image, their sums and sums of squares [2, C].
struct NormOperand {
  const void* x = nullptr;
  const float* sums = nullptr;
  int channels = 0;
};

struct Norm {
  NormOperand x;
  NormOperand skip;  // no channels: none
  const float* rho = nullptr;
  int64_t rho_stride = 0;        // from one image to the next, as all strides here
  const float* added = nullptr;  // null: nothing
  int64_t added_stride = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  const float* scale = nullptr;  // null: no scale and no shift
  const float* shift = nullptr;
  int64_t scale_stride = 0;
  int64_t shift_stride = 0;
  int groups = 1;
  float epsilon = 0.0f;
  bool silu = true;
  Sampling sampling = Sampling::kNone;
  Type type = Type::kFloat32;  // of the operands
  void* out = nullptr;
  Type out_type = Type::kFloat32;
  int batch = 0;
  int height = 0;  // of the operands
  int width = 0;
};
int Normalize(const Norm& norm, CUstream_st* stream);

// Describes (main + bias + shortcut + rho * second) * scale, or with no `out` main + bias alone,
// and the sums of the result. The order of summation depends on nothing but the shape of an image.
struct Sum {
  const void* main = nullptr;
  const float* bias = nullptr;  // null: zero
  int64_t bias_stride = 0;
  const void* shortcut = nullptr;
  const void* second = nullptr;
  const float* rho = nullptr;
  int64_t rho_stride = 0;
  Sampling sampling = Sampling::kNone;  // of the shortcut
  float scale = 1.0f;
  Type type = Type::kFloat32;
  void* out = nullptr;
  float* partial = nullptr;  // [batch, SumChunks(), 2, C]
  int* arrived = nullptr;    // [batch], zero; is zero afterwards
  float* sums = nullptr;     // [batch, 2, C]
  int batch = 0;
  int height = 0;  // of main
  int width = 0;
  int channels = 0;
};
// Returns the parts of an image that are summed up apart; it depends on the shape and type alone.
int SumChunks(const Sum& sum);
int AddUp(const Sum& sum, CUstream_st* stream);

// Run over rows and updates of model/diffusion/slot_update.h; some only fill the batch.
int Gather(const RowDescriptor* rows, int count, Extent shape, int labels_per_row, float* x,
           float* c_noise, float* labels, CUstream_st* stream);
int Update(const SlotUpdate* updates, const RowDescriptor* rows, int count, Extent shape,
           const float* f, int f_channels, int32_t* failures, CUstream_st* stream);
int ToImage(const double* values, Extent shape, uint8_t* pixels, CUstream_st* stream);

}  // namespace skipstream::cuda

#endif  // SKIPSTREAM_MODEL_BACKENDS_CUDA_KERNELS_H_
