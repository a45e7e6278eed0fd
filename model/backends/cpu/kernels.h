// Vectorises pieces of a UNet evaluation on a CPU. Each kernel does a part of one image's work, so
// that the caller assigns the parts to threads. Images are in channels-last memory [H, W, C].
//
// A result depends neither on how the work is divided nor on other work: every sum is taken in one
// fixed order. T is the type of the factors of products, float or BFloat16; sums and everything
// between products are float32.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_KERNELS_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_KERNELS_H_

#include <bit>
#include <cstdint>

namespace skipstream::cpu {

// Holds the upper half of a float32.
struct BFloat16 {
  uint16_t bits = 0;
};

// Number of neighbouring factors of one sum in a packed matrix.
template <typename T>
constexpr int kPack = 4 / static_cast<int>(sizeof(T));

// Rounds x to T: to the nearest, ties to even.
inline float Rounded(float x, float) { return x; }
inline BFloat16 Rounded(float x, BFloat16) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

// Columns of a packed matrix come in blocks of kBlock, the last filled up to a multiple of kLanes.
constexpr int64_t kBlock = 32;
constexpr int64_t kLanes = 16;

// Functions of this header that the kernels' sources call are inlined there: a copy compiled for
// AVX-512 must not be the one that other code is linked with.
[[gnu::always_inline]] constexpr int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
constexpr int64_t NumBlocks(int64_t columns) { return (columns + kBlock - 1) / kBlock; }

// Returns the elements of a packed matrix of `rows` rows, which are filled up to a multiple of
// kPack. Their order is: per block of columns, per kPack rows, per column the kPack values.
template <typename T>
constexpr int64_t PackedSize(int64_t rows, int64_t columns) {
  return RoundUp(rows, kPack<T>) * RoundUp(columns, kLanes);
}

// Returns the index of element (row, column).
template <typename T>
constexpr int64_t PackedIndex(int64_t rows, int64_t columns, int64_t row, int64_t column) {
  const int64_t block = column / kBlock * kBlock;
  const int64_t left = RoundUp(columns, kLanes) - block;
  return block * RoundUp(rows, kPack<T>) +
         row / kPack<T> * kPack<T> * (left < kBlock ? left : kBlock) + (column - block) * kPack<T> +
         row % kPack<T>;
}

// Describes one operand of a convolution: kernel 3 or 1, stride 1. `data` is the first tap of the
// first pixel, so for kernel 3 a pixel above and to the left of it; the image has zeros around.
template <typename T>
struct ConvInput {
  const T* data = nullptr;
  int64_t channels = 0;  // a multiple of kPack
  int64_t line = 0;      // distance between lines, in elements
  int kernel = 0;        // 0: there is no such operand
};

// Describes out = (bias + sum over the inputs of their convolutions + residual) * scale.
template <typename T>
struct Convolution {
  ConvInput<T> inputs[2];
  // Packed [rows, columns]; rows: input by input, tap by tap (line by line), channel by channel.
  const T* weight = nullptr;
  const float* bias = nullptr;  // [columns]; read up to a multiple of kLanes
  int64_t height = 0;
  int64_t width = 0;
  int64_t columns = 0;              // output channels
  const float* residual = nullptr;  // [H, W, columns] or none; may be `out`
  float scale = 1.0f;
  float* out = nullptr;  // [H, W, columns]; or
  T* rounded = nullptr;  // the same, if `out` is null
};

// Returns the units of work of a convolution: one line of one block of columns each.
template <typename T>
int64_t ConvolutionUnits(const Convolution<T>& task) {
  return NumBlocks(task.columns) * task.height;
}
template <typename T>
void Convolve(const Convolution<T>& task, int64_t begin, int64_t end);

// Describes the statistics per line and channel of x [H, W, C]: the mean, and the sum of squared
// differences from it.
struct LineStatistics {
  const float* x = nullptr;
  int64_t width = 0;
  int64_t channels = 0;
  float* mean = nullptr;     // [H, C]
  float* squares = nullptr;  // [H, C]
};
void MeasureLines(const LineStatistics& task, int64_t begin, int64_t end);

// Describes a group normalization (arXiv 1803.08494) of one tensor, or of two of one size side by
// side, with its activation, resampling and outputs.
template <typename T>
struct Normalization {
  struct Part {
    const float* x = nullptr;        // [H, W, channels]
    const float* mean = nullptr;     // [H, channels], of the lines of x
    const float* squares = nullptr;  // [H, channels]
    int64_t channels = 0;
    float factor = 1.0f;  // factor of x
  };
  enum class Resampling { kNone, kDown, kUp };  // by the box filter, after the activation

  Part parts[2];
  int num_parts = 1;
  int64_t groups = 1;
  float epsilon = 0.0f;
  const float* weight = nullptr;  // [C], C being the sum of the parts' channels
  const float* bias = nullptr;    // [C]
  const float* scale = nullptr;   // [C] or none: the result times 1 + scale, plus shift
  const float* shift = nullptr;   // [C]
  bool silu = true;
  Resampling resampling = Resampling::kNone;
  int64_t height = 0;  // before resampling
  int64_t width = 0;
  T* out = nullptr;  // [H', W', C]; if `padded` [H' + 2, W' + 2, C], and zeros are written around
  bool padded = false;
  T* raw = nullptr;            // [H', W', C] or none: the parts, resampled, not normalised
  float* raw_float = nullptr;  // [H', W', C] or none: the same unrounded
};

// Computes the coefficients that every line of a Normalization needs: y = x * multiplier + offset,
// per channel. `scratch`: 2 C doubles.
template <typename T>
void NormalizationCoefficients(const Normalization<T>& task, float* multiplier, float* offset,
                               double* scratch);
// Returns the units of work: lines of x or of the output, whichever has fewer.
template <typename T>
int64_t NormalizationUnits(const Normalization<T>& task) {
  const bool down = task.resampling == Normalization<T>::Resampling::kDown;
  return down ? task.height / 2 : task.height;
}
template <typename T>
void Normalize(const Normalization<T>& task, const float* multiplier, const float* offset,
               int64_t begin, int64_t end);

// Describes self-attention over n pixels by one head: softmax(q k^T / sqrt(d)) v.
template <typename T>
struct AttentionHead {
  const T* q = nullptr;  // [n, d], `stride` between pixels
  const T* k = nullptr;
  const T* v = nullptr;
  int64_t stride = 0;
  int64_t pixels = 0;    // n
  int64_t channels = 0;  // d, a multiple of kPack
  T* keys = nullptr;     // packed [d, n]
  T* values = nullptr;   // packed [n, d]
  T* out = nullptr;      // [n, d], `out_stride` between pixels
  int64_t out_stride = 0;
};
template <typename T>
void PackKeys(const AttentionHead<T>& head);
template <typename T>
void PackValues(const AttentionHead<T>& head);
constexpr int64_t kQueries = 8;  // queries per unit of work
template <typename T>
int64_t AttentionUnits(const AttentionHead<T>& head) {
  return (head.pixels + kQueries - 1) / kQueries;
}
// Computes units [begin, end). Scratch: `scores` and `weights` have kQueries * (n filled up to
// kLanes) values each.
template <typename T>
void Attend(const AttentionHead<T>& head, float* scores, T* weights, int64_t begin, int64_t end);

// Applies x = x / (1 + exp(-x)) to n values.
void SiluInPlace(float* x, int64_t n);

}  // namespace skipstream::cpu

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_KERNELS_H_
