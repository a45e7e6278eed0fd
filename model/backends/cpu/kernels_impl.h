// The kernels for one type of factors, to be included by the one source that is compiled for the
// instructions it needs: nothing but intrinsics and plain loops may be in here, as an inline
// function of a library, compiled here, would be linked into what runs on any CPU.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_KERNELS_IMPL_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_KERNELS_IMPL_H_

#include <immintrin.h>

#include <cstdint>

#include "model/backends/cpu/kernels.h"

namespace skipstream::cpu {
namespace {

using Floats = __m512;  // kLanes of them
using Mask = __mmask16;

constexpr int kPixels = 8;  // of a tile: with two vectors of columns, 16 sums in registers

inline int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
inline Mask FirstLanes(int64_t n) {
  return n >= kLanes ? Mask{0xffff} : static_cast<Mask>((1u << n) - 1);
}

// --- What differs between the types of factors ---

template <typename T>
struct Factors;

template <>
struct Factors<float> {
  using Vector = __m512;
  static Vector Load(const float* w) { return _mm512_loadu_ps(w); }
  static Vector Broadcast(const float* x) { return _mm512_set1_ps(*x); }
  static Floats MultiplyAdd(Vector x, Vector w, Floats sum) { return _mm512_fmadd_ps(x, w, sum); }
  static void Store(float* to, Floats x, Mask lanes) { _mm512_mask_storeu_ps(to, lanes, x); }
  static constexpr bool kExact = true;
};

#ifdef __AVX512BF16__
template <>
struct Factors<BFloat16> {
  using Vector = __m512bh;
  static Vector Load(const BFloat16* w) { return (__m512bh)_mm512_loadu_si512(w); }
  static Vector Broadcast(const BFloat16* x) {
    int pair;
    __builtin_memcpy(&pair, x, sizeof(pair));
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static Floats MultiplyAdd(Vector x, Vector w, Floats sum) { return _mm512_dpbf16_ps(sum, x, w); }
  static void Store(BFloat16* to, Floats x, Mask lanes) {
    _mm256_mask_storeu_epi16(to, lanes, (__m256i)_mm512_cvtneps_pbh(x));
  }
  static constexpr bool kExact = false;
};
#endif

inline Floats LoadLanes(const float* x, Mask lanes) { return _mm512_maskz_loadu_ps(lanes, x); }

// exp(x), x between -87 and 87 (else as at the nearer end), NaN for NaN. Relative error 2e-7 if
// `exact`, else 4e-6.
template <bool exact>
inline Floats Exp(Floats x) {
  // The second operand is what a NaN survives in.
  x = _mm512_max_ps(_mm512_set1_ps(-87.0f), _mm512_min_ps(_mm512_set1_ps(87.0f), x));
  const Floats power = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts, of which the first has few digits.
  Floats r = _mm512_fnmadd_ps(power, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(power, _mm512_set1_ps(-2.12194440e-4f), r);
  // The Taylor series of exp up to r^7 or r^5; |r| is at most ln(2) / 2.
  Floats sum;
  if constexpr (exact) {
    sum = _mm512_set1_ps(1.0f / 5040);
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 720));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 120));
  } else {
    sum = _mm512_set1_ps(1.0f / 120);
  }
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 24));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f / 6));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(0.5f));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f));
  sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(sum, power);
}

template <bool exact>
inline Floats Silu(Floats x) {
  const Floats one = _mm512_set1_ps(1.0f);
  const Floats divisor = _mm512_add_ps(one, Exp<exact>(_mm512_sub_ps(_mm512_setzero_ps(), x)));
  Floats inverse = _mm512_rcp14_ps(divisor);
  if constexpr (exact) {  // one step of Newton's method
    inverse = _mm512_mul_ps(inverse, _mm512_fnmadd_ps(divisor, inverse, _mm512_set1_ps(2.0f)));
  }
  return _mm512_mul_ps(x, inverse);
}

// --- Products ---

template <int P, int V>
struct Sums {
  Floats at[P][V];
  void Clear() {
    for (auto& pixel : at) {
      for (Floats& sum : pixel) sum = _mm512_setzero_ps();
    }
  }
};

// Adds the products of P pixels' `channels` values with the same number of rows of packed columns,
// and returns where the next rows are.
template <typename T, int P, int V>
inline __attribute__((always_inline)) const T* MultiplyAdd(const T* x, int64_t stride,
                                                           int64_t channels, const T* w,
                                                           Sums<P, V>& sums) {
  using F = Factors<T>;
  for (int64_t k = 0; k < channels; k += kPack<T>) {
    typename F::Vector columns[V];
    for (int v = 0; v < V; ++v) columns[v] = F::Load(w + v * kLanes * kPack<T>);
    w += V * kLanes * kPack<T>;
    for (int p = 0; p < P; ++p) {
      const typename F::Vector value = F::Broadcast(x + p * stride + k);
      for (int v = 0; v < V; ++v) sums.at[p][v] = F::MultiplyAdd(value, columns[v], sums.at[p][v]);
    }
  }
  return w;
}

// Calls tile.operator()<P>(first) for runs of P = 8, 4, 2, 1 of n things.
template <typename Tile>
inline __attribute__((always_inline)) void InTiles(int64_t n, const Tile& tile) {
  int64_t first = 0;
  for (; first + kPixels <= n; first += kPixels) tile.template operator()<kPixels>(first);
  if (first + 4 <= n) {
    tile.template operator()<4>(first);
    first += 4;
  }
  if (first + 2 <= n) {
    tile.template operator()<2>(first);
    first += 2;
  }
  if (first < n) tile.template operator()<1>(first);
}

template <typename T, int P, int V>
inline void ConvolveTile(const Convolution<T>& task, const T* w, int64_t y, int64_t x,
                         int64_t column) {
  Sums<P, V> sums;
  sums.Clear();
  for (const ConvInput<T>& input : task.inputs) {
    for (int row = 0; row < input.kernel; ++row) {
      for (int tap = 0; tap < input.kernel; ++tap) {
        w = MultiplyAdd<T, P, V>(input.data + (y + row) * input.line + (x + tap) * input.channels,
                                 input.channels, input.channels, w, sums);
      }
    }
  }
  const Floats scale = _mm512_set1_ps(task.scale);
  for (int p = 0; p < P; ++p) {
    for (int v = 0; v < V; ++v) {
      const int64_t c = column + v * kLanes;
      const Mask lanes = FirstLanes(task.columns - c);
      const int64_t at = (y * task.width + x + p) * task.columns + c;
      Floats value = _mm512_add_ps(sums.at[p][v], _mm512_loadu_ps(task.bias + c));
      if (task.residual != nullptr) {
        value = _mm512_add_ps(value, LoadLanes(task.residual + at, lanes));
      }
      value = _mm512_mul_ps(value, scale);
      if (task.out != nullptr) {
        _mm512_mask_storeu_ps(task.out + at, lanes, value);
      } else {
        Factors<T>::Store(task.rounded + at, value, lanes);
      }
    }
  }
}

// Calls columns.operator()<V>() with the number of vectors the block at `column` has.
template <typename Columns>
inline __attribute__((always_inline)) void InBlock(int64_t left, const Columns& columns) {
  if (left > kLanes) {
    columns.template operator()<2>();
  } else {
    columns.template operator()<1>();
  }
}

}  // namespace

template <typename T>
void Convolve(const Convolution<T>& task, int64_t begin, int64_t end) {
  int64_t rows = 0;
  for (const ConvInput<T>& input : task.inputs)
    rows += input.kernel * input.kernel * input.channels;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t column = unit / task.height * kBlock;
    const int64_t y = unit % task.height;
    const T* w = task.weight + column * rows;
    InBlock(task.columns - column, [&]<int V>() {
      InTiles(task.width, [&]<int P>(int64_t x) { ConvolveTile<T, P, V>(task, w, y, x, column); });
    });
  }
}

// --- Normalization ---

template <typename T>
void NormalizationCoefficients(const Normalization<T>& task, float* multiplier, float* offset,
                               double* scratch) {
  int64_t channels = 0;
  for (int i = 0; i < task.num_parts; ++i) channels += task.parts[i].channels;
  // Per channel: the mean, and the sum of squared differences from it over all pixels.
  double* means = scratch;
  double* squares = scratch + channels;
  const auto height = static_cast<double>(task.height);
  const auto width = static_cast<double>(task.width);
  int64_t first = 0;
  for (int i = 0; i < task.num_parts; ++i) {
    const auto& part = task.parts[i];
    const double factor = part.factor;
    for (int64_t c = 0; c < part.channels; ++c) means[first + c] = squares[first + c] = 0.0;
    for (int64_t y = 0; y < task.height; ++y) {
      const float* line = part.mean + y * part.channels;
      for (int64_t c = 0; c < part.channels; ++c) means[first + c] += line[c];
    }
    for (int64_t c = 0; c < part.channels; ++c) means[first + c] /= height;
    for (int64_t y = 0; y < task.height; ++y) {
      const float* line = part.mean + y * part.channels;
      const float* within = part.squares + y * part.channels;
      for (int64_t c = 0; c < part.channels; ++c) {
        const double apart = line[c] - means[first + c];
        squares[first + c] += within[c] + width * apart * apart;
      }
    }
    for (int64_t c = 0; c < part.channels; ++c) {
      means[first + c] *= factor;
      squares[first + c] *= factor * factor;
    }
    first += part.channels;
  }

  const int64_t size = channels / task.groups;
  const double pixels = height * width;
  for (int64_t g = 0; g < task.groups; ++g) {
    double mean = 0.0;
    for (int64_t c = g * size; c < (g + 1) * size; ++c) mean += means[c];
    mean /= static_cast<double>(size);
    double variance = 0.0;
    for (int64_t c = g * size; c < (g + 1) * size; ++c) {
      variance += squares[c] / pixels + (means[c] - mean) * (means[c] - mean);
    }
    variance /= static_cast<double>(size);
    const double inverse = 1.0 / __builtin_sqrt(variance + task.epsilon);
    for (int64_t c = g * size; c < (g + 1) * size; ++c) {
      double by = inverse * task.weight[c];
      double plus = task.bias[c] - mean * by;
      if (task.scale != nullptr) {
        by *= 1.0 + task.scale[c];
        plus = plus * (1.0 + task.scale[c]) + task.shift[c];
      }
      multiplier[c] = static_cast<float>(by);
      offset[c] = static_cast<float>(plus);
    }
  }
  first = 0;
  for (int i = 0; i < task.num_parts; ++i) {
    for (int64_t c = 0; c < task.parts[i].channels; ++c) {
      multiplier[first + c] *= task.parts[i].factor;
    }
    first += task.parts[i].channels;
  }
}

namespace {

// Points to the line of output pixels that a Normalization writes.
template <typename T>
struct OutputLine {
  T* out;
  T* raw;
  float* raw_float;
};

template <typename T>
inline OutputLine<T> LineOf(const Normalization<T>& task, int64_t channels, int64_t width,
                            int64_t y) {
  const int64_t pad = task.padded ? 1 : 0;
  return {task.out + ((y + pad) * (width + 2 * pad) + pad) * channels,
          task.raw == nullptr ? nullptr : task.raw + y * width * channels,
          task.raw_float == nullptr ? nullptr : task.raw_float + y * width * channels};
}

template <typename T>
inline void Zero(T* to, int64_t n) {
  __builtin_memset(static_cast<void*>(to), 0, static_cast<size_t>(n) * sizeof(T));
}

// The zeros beside line y of `height`, and above the first and below the last.
template <typename T>
inline void Pad(const Normalization<T>& task, int64_t channels, int64_t height, int64_t width,
                int64_t y) {
  if (!task.padded) return;
  const int64_t line = (width + 2) * channels;
  T* const own = task.out + (y + 1) * line;
  Zero(own, channels);
  Zero(own + (width + 1) * channels, channels);
  if (y == 0) Zero(task.out, line);
  if (y == height - 1) Zero(task.out + (height + 1) * line, line);
}

}  // namespace

template <typename T>
void Normalize(const Normalization<T>& task, const float* multiplier, const float* offset,
               int64_t begin, int64_t end) {
  using Resampling = typename Normalization<T>::Resampling;
  using F = Factors<T>;
  int64_t channels = 0;
  for (int i = 0; i < task.num_parts; ++i) channels += task.parts[i].channels;
  const bool down = task.resampling == Resampling::kDown;
  const bool up = task.resampling == Resampling::kUp;
  const int64_t height = up ? 2 * task.height : down ? task.height / 2 : task.height;
  const int64_t width = up ? 2 * task.width : down ? task.width / 2 : task.width;
  const int64_t units_width = down ? width : task.width;
  const int copies = up ? 2 : 1;  // each way
  for (int64_t unit = begin; unit < end; ++unit) {
    OutputLine<T> lines[2];
    for (int i = 0; i < copies; ++i) {
      lines[i] = LineOf(task, channels, width, unit * copies + i);
      Pad(task, channels, height, width, unit * copies + i);
    }
    for (int64_t x = 0; x < units_width; ++x) {
      int64_t first = 0;
      for (int i = 0; i < task.num_parts; ++i) {
        const auto& part = task.parts[i];
        const Floats factor = _mm512_set1_ps(part.factor);
        const int64_t step = down ? 2 : 1;
        const float* const corner = part.x + (unit * step * task.width + x * step) * part.channels;
        for (int64_t c = 0; c < part.channels; c += kLanes) {
          const Mask lanes = FirstLanes(part.channels - c);
          const Floats by = LoadLanes(multiplier + first + c, lanes);
          const Floats plus = LoadLanes(offset + first + c, lanes);
          const auto active = [&](Floats value) {
            const Floats normed = _mm512_fmadd_ps(value, by, plus);
            return task.silu ? Silu<F::kExact>(normed) : normed;
          };
          Floats value = LoadLanes(corner + c, lanes);
          Floats result = active(value);
          if (down) {
            const float* const below = corner + task.width * part.channels;
            const Floats others[3] = {LoadLanes(corner + part.channels + c, lanes),
                                      LoadLanes(below + c, lanes),
                                      LoadLanes(below + part.channels + c, lanes)};
            for (const Floats other : others) {
              value = _mm512_add_ps(value, other);
              result = _mm512_add_ps(result, active(other));
            }
            const Floats quarter = _mm512_set1_ps(0.25f);
            value = _mm512_mul_ps(value, quarter);
            result = _mm512_mul_ps(result, quarter);
          }
          value = _mm512_mul_ps(value, factor);
          for (int row = 0; row < copies; ++row) {
            const OutputLine<T>& line = lines[row];
            for (int copy = 0; copy < copies; ++copy) {
              const int64_t pixel = x * copies + copy;
              F::Store(line.out + pixel * channels + first + c, result, lanes);
              if (line.raw != nullptr) {
                F::Store(line.raw + pixel * channels + first + c, value, lanes);
              }
              if (line.raw_float != nullptr) {
                _mm512_mask_storeu_ps(line.raw_float + pixel * channels + first + c, lanes, value);
              }
            }
          }
        }
        first += part.channels;
      }
    }
  }
}

// --- Attention ---

template <typename T>
void PackKeys(const AttentionHead<T>& head) {
  // One packed row of a column holds kPack neighbouring values, 32 bits.
  const __m512i pixel_bytes = _mm512_mullo_epi32(
      _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
      _mm512_set1_epi32(static_cast<int>(head.stride * static_cast<int64_t>(sizeof(T)))));
  T* to = head.keys;
  for (int64_t block = 0; block < head.pixels; block += kBlock) {
    const int64_t vectors = head.pixels - block > kLanes ? 2 : 1;
    for (int64_t c = 0; c < head.channels; c += kPack<T>) {
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t pixel = block + v * kLanes;
        const __m512i values =
            _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), FirstLanes(head.pixels - pixel),
                                        pixel_bytes, head.k + pixel * head.stride + c, 1);
        _mm512_storeu_si512(to, values);
        to += kLanes * kPack<T>;
      }
    }
  }
}

template <typename T>
void PackValues(const AttentionHead<T>& head) {
  // kPack neighbouring pixels' values of each channel.
  T* to = head.values;
  for (int64_t block = 0; block < head.channels; block += kBlock) {
    const int64_t vectors = head.channels - block > kLanes ? 2 : 1;
    for (int64_t pixel = 0; pixel < head.pixels; pixel += kPack<T>) {
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t c = block + v * kLanes;
        const Mask lanes = FirstLanes(head.channels - c);
        const T* from = head.v + pixel * head.stride + c;
        if constexpr (kPack<T> == 1) {
          _mm512_storeu_ps(to, LoadLanes(from, lanes));
        } else {
          const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from));
          __m512i high = _mm512_setzero_si512();
          if (pixel + 1 < head.pixels) {
            high = _mm512_slli_epi32(
                _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from + head.stride)), 16);
          }
          _mm512_storeu_si512(to, _mm512_or_si512(low, high));
        }
        to += kLanes * kPack<T>;
      }
    }
  }
}

namespace {

template <typename T, int P>
inline void AttendTile(const AttentionHead<T>& head, float* scores, T* weights, int64_t query) {
  using F = Factors<T>;
  const int64_t padded = RoundUp(head.pixels, kLanes);
  const int64_t rows = RoundUp(head.pixels, kPack<T>);
  const Floats scale = _mm512_set1_ps(1.0f / __builtin_sqrtf(static_cast<float>(head.channels)));
  const Floats never = _mm512_set1_ps(-__builtin_inff());
  for (int64_t block = 0; block < head.pixels; block += kBlock) {
    InBlock(head.pixels - block, [&]<int V>() {
      Sums<P, V> sums;
      sums.Clear();
      MultiplyAdd<T, P, V>(head.q + query * head.stride, head.stride, head.channels,
                           head.keys + block * head.channels, sums);
      for (int p = 0; p < P; ++p) {
        for (int v = 0; v < V; ++v) {
          const int64_t pixel = block + v * kLanes;
          const Floats value =
              _mm512_mask_mul_ps(never, FirstLanes(head.pixels - pixel), sums.at[p][v], scale);
          _mm512_storeu_ps(scores + p * padded + pixel, value);
        }
      }
    });
  }
  float inverse[P];
  for (int p = 0; p < P; ++p) {
    float* const row = scores + p * padded;
    Floats most = _mm512_loadu_ps(row);
    for (int64_t i = kLanes; i < padded; i += kLanes) {
      most = _mm512_max_ps(most, _mm512_loadu_ps(row + i));
    }
    const Floats peak = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    Floats sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < padded; i += kLanes) {
      const Floats value = Exp<F::kExact>(_mm512_sub_ps(_mm512_loadu_ps(row + i), peak));
      sum = _mm512_add_ps(sum, value);
      F::Store(weights + p * padded + i, value, Mask{0xffff});
    }
    inverse[p] = 1.0f / _mm512_reduce_add_ps(sum);
  }
  for (int64_t block = 0; block < head.channels; block += kBlock) {
    InBlock(head.channels - block, [&]<int V>() {
      Sums<P, V> sums;
      sums.Clear();
      MultiplyAdd<T, P, V>(weights, padded, rows, head.values + block * rows, sums);
      for (int p = 0; p < P; ++p) {
        for (int v = 0; v < V; ++v) {
          const int64_t c = block + v * kLanes;
          F::Store(head.out + (query + p) * head.out_stride + c,
                   _mm512_mul_ps(sums.at[p][v], _mm512_set1_ps(inverse[p])),
                   FirstLanes(head.channels - c));
        }
      }
    });
  }
}

}  // namespace

template <typename T>
void Attend(const AttentionHead<T>& head, float* scores, T* weights, int64_t begin, int64_t end) {
  const int64_t first = begin * kQueries;
  const int64_t last = Min(end * kQueries, head.pixels);
  InTiles(last - first,
          [&]<int P>(int64_t query) { AttendTile<T, P>(head, scores, weights, first + query); });
}

#define SKIPSTREAM_INSTANTIATE_CPU_KERNELS(T)                                                     \
  template void Convolve(const Convolution<T>&, int64_t, int64_t);                                \
  template void NormalizationCoefficients(const Normalization<T>&, float*, float*, double*);      \
  template void Normalize(const Normalization<T>&, const float*, const float*, int64_t, int64_t); \
  template void PackKeys(const AttentionHead<T>&);                                                \
  template void PackValues(const AttentionHead<T>&);                                              \
  template void Attend(const AttentionHead<T>&, float*, T*, int64_t, int64_t)

}  // namespace skipstream::cpu

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_KERNELS_IMPL_H_
