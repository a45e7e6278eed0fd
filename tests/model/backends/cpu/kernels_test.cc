// The kernels against plain loops in float64, in buffers of the very size they may touch.
#include "model/backends/cpu/kernels.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"

namespace skipstream::cpu {
namespace {

double Value(float x) { return x; }
double Value(BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

template <typename T>
class KernelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      (std::is_same_v<T, float> || __builtin_cpu_supports("avx512bf16"));
    if (!runs) GTEST_SKIP() << "this CPU lacks the instructions";
  }

  // Multiples of 1/16 from -1 to 1: BFloat16 holds them, and sums of their products are exact.
  template <typename V = T>
  std::vector<V> Draw(int64_t n) {
    std::vector<V> values(n);
    std::uniform_int_distribution<int> sixteenths(-16, 16);
    for (V& value : values) value = Rounded(static_cast<float>(sixteenths(generator_)) / 16, V());
    return values;
  }

  // Returns the error that a result in T may have.
  static double Tolerance(double value) {
    return (std::is_same_v<T, float> ? 2e-6 : 6e-3) * (1.0 + std::abs(value));
  }

  std::mt19937 generator_{3};
};

using Types = ::testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(KernelsTest, Types);

TYPED_TEST(KernelsTest, ConvolveAddsUpItsOperands) {
  using T = TypeParam;
  for (const int64_t columns : {1, 15, 16, 17, 32, 33, 50}) {
    for (const int64_t width : {1, 2, 3, 5, 8, 9, 15}) {
      const int64_t height = 3;
      const int64_t wide = 6;    // channels of the 3x3 operand
      const int64_t narrow = 4;  // and of the 1x1 one
      const int64_t rows = 9 * wide + narrow;
      const std::vector<T> x = this->Draw((height + 2) * (width + 2) * wide);
      const std::vector<T> raw = this->Draw(height * width * narrow);
      const std::vector<T> weight = this->Draw(rows * columns);  // [rows, columns]
      std::vector<T> packed(PackedSize<T>(rows, columns));
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          packed[PackedIndex<T>(rows, columns, r, c)] = weight[r * columns + c];
        }
      }
      const std::vector<float> bias = this->template Draw<float>(RoundUp(columns, kLanes));
      const std::vector<float> residual = this->template Draw<float>(height * width * columns);
      std::vector<float> out(height * width * columns, -7.0f);
      std::vector<T> rounded(out.size());
      Convolution<T> task;
      task.inputs[0] = {x.data(), wide, (width + 2) * wide, 3};
      task.inputs[1] = {raw.data(), narrow, width * narrow, 1};
      task.weight = packed.data();
      task.bias = bias.data();
      task.height = height;
      task.width = width;
      task.columns = columns;
      task.residual = residual.data();
      task.scale = 0.5f;
      task.out = out.data();
      for (int64_t unit = 0; unit < ConvolutionUnits(task); ++unit) Convolve(task, unit, unit + 1);
      task.out = nullptr;
      task.rounded = rounded.data();
      Convolve(task, 0, ConvolutionUnits(task));
      for (int64_t y = 0; y < height; ++y) {
        for (int64_t p = 0; p < width; ++p) {
          for (int64_t c = 0; c < columns; ++c) {
            double sum = bias[c];
            int64_t row = 0;
            for (int64_t tap = 0; tap < 9; ++tap) {
              for (int64_t k = 0; k < wide; ++k) {
                const int64_t pixel = (y + tap / 3) * (width + 2) + p + tap % 3;
                sum += Value(x[pixel * wide + k]) * Value(weight[row++ * columns + c]);
              }
            }
            for (int64_t k = 0; k < narrow; ++k) {
              sum += Value(raw[(y * width + p) * narrow + k]) * Value(weight[row++ * columns + c]);
            }
            const int64_t at = (y * width + p) * columns + c;
            const double expected = (sum + residual[at]) * 0.5;
            ASSERT_EQ(out[at], expected) << columns << " columns, width " << width;
            ASSERT_NEAR(Value(rounded[at]), expected, this->Tolerance(expected));
          }
        }
      }
    }
  }
}

TYPED_TEST(KernelsTest, NormalizeJoinsScalesNormalizesActivatesAndResamples) {
  using T = TypeParam;
  using Task = Normalization<T>;
  using Resampling = typename Task::Resampling;
  struct Part {
    int64_t channels;
    float factor;
  };
  for (const Resampling resampling : {Resampling::kNone, Resampling::kDown, Resampling::kUp}) {
    for (const bool adaptive : {false, true}) {
      const int64_t height = 4;
      const int64_t width = 6;
      const Part parts[2] = {{20, 1.0f}, {10, 0.75f}};
      const int64_t channels = 30;
      const int64_t groups = 5;  // the fourth has channels of both parts
      Task task;
      std::vector<float> x[2];
      std::vector<float> mean[2];
      std::vector<float> squares[2];
      for (int i = 0; i < 2; ++i) {
        x[i] = this->template Draw<float>(height * width * parts[i].channels);
        mean[i].resize(height * parts[i].channels);
        squares[i].resize(height * parts[i].channels);
        MeasureLines({x[i].data(), width, parts[i].channels, mean[i].data(), squares[i].data()}, 0,
                     height);
        task.parts[i] = {x[i].data(), mean[i].data(), squares[i].data(), parts[i].channels,
                         parts[i].factor};
      }
      const std::vector<float> weight = this->template Draw<float>(channels);
      const std::vector<float> bias = this->template Draw<float>(channels);
      const std::vector<float> scale = this->template Draw<float>(channels);
      const std::vector<float> shift = this->template Draw<float>(channels);
      const int64_t h = resampling == Resampling::kDown ? 2 : resampling == Resampling::kUp ? 8 : 4;
      const int64_t w = resampling == Resampling::kDown ? 3
                        : resampling == Resampling::kUp ? 12
                                                        : 6;
      std::vector<T> out((h + 2) * (w + 2) * channels, Rounded(9.0f, T()));
      std::vector<T> raw(h * w * channels);
      std::vector<float> raw_float(raw.size());
      task.num_parts = 2;
      task.groups = groups;
      task.epsilon = 1e-5f;
      task.weight = weight.data();
      task.bias = bias.data();
      if (adaptive) task.scale = scale.data();
      if (adaptive) task.shift = shift.data();
      task.resampling = resampling;
      task.height = height;
      task.width = width;
      task.out = out.data();
      task.padded = true;
      task.raw = raw.data();
      task.raw_float = raw_float.data();
      std::vector<float> multiplier(channels);
      std::vector<float> offset(channels);
      std::vector<double> sums(2 * channels);
      NormalizationCoefficients(task, multiplier.data(), offset.data(), sums.data());
      for (int64_t unit = 0; unit < NormalizationUnits(task); ++unit) {
        Normalize(task, multiplier.data(), offset.data(), unit, unit + 1);
      }

      const auto joined = [&](int64_t y, int64_t p, int64_t c) {
        const int i = c < 20 ? 0 : 1;
        return double{parts[i].factor} * x[i][(y * width + p) * parts[i].channels + c - 20 * i];
      };
      const auto active = [&](int64_t y, int64_t p, int64_t c) {
        const int64_t first = c / (channels / groups) * (channels / groups);
        double sum = 0.0;
        double square = 0.0;
        const int64_t values = height * width * (channels / groups);
        const auto count = static_cast<double>(values);
        for (int64_t q = 0; q < height * width; ++q) {
          for (int64_t k = first; k < first + channels / groups; ++k) {
            sum += joined(q / width, q % width, k);
            square += joined(q / width, q % width, k) * joined(q / width, q % width, k);
          }
        }
        const double m = sum / count;
        double v =
            (joined(y, p, c) - m) / std::sqrt(square / count - m * m + 1e-5) * weight[c] + bias[c];
        if (adaptive) v = v * (1.0 + scale[c]) + shift[c];
        return v / (1.0 + std::exp(-v));
      };
      const auto resampled = [&](const auto& from, int64_t y, int64_t p, int64_t c) {
        if (resampling == Resampling::kNone) return from(y, p, c);
        if (resampling == Resampling::kUp) return from(y / 2, p / 2, c);
        return 0.25 * (from(2 * y, 2 * p, c) + from(2 * y, 2 * p + 1, c) +
                       from(2 * y + 1, 2 * p, c) + from(2 * y + 1, 2 * p + 1, c));
      };
      for (int64_t y = -1; y <= h; ++y) {
        for (int64_t p = -1; p <= w; ++p) {
          for (int64_t c = 0; c < channels; ++c) {
            const double got = Value(out[((y + 1) * (w + 2) + p + 1) * channels + c]);
            if (y < 0 || y == h || p < 0 || p == w) {
              ASSERT_EQ(got, 0.0);
              continue;
            }
            const double expected = resampled(active, y, p, c);
            ASSERT_NEAR(got, expected, this->Tolerance(expected)) << y << " " << p << " " << c;
            const double plain = resampled(joined, y, p, c);
            ASSERT_EQ(raw_float[(y * w + p) * channels + c], plain);
            ASSERT_NEAR(Value(raw[(y * w + p) * channels + c]), plain, this->Tolerance(plain));
          }
        }
      }
    }
  }
}

TYPED_TEST(KernelsTest, AttendMixesValuesByTheSoftmaxOfProducts) {
  using T = TypeParam;
  for (const int64_t pixels : {1, 2, 9, 16, 17, 33, 49}) {
    for (const int64_t width : {2, 16, 34}) {
      const int64_t stride = 3 * width;
      const std::vector<T> qkv = this->Draw(pixels * stride);
      std::vector<T> keys(PackedSize<T>(width, pixels));
      std::vector<T> values(PackedSize<T>(pixels, width));
      std::vector<T> out(pixels * width);
      AttentionHead<T> head;
      head.q = qkv.data();
      head.k = head.q + width;
      head.v = head.k + width;
      head.stride = stride;
      head.pixels = pixels;
      head.channels = width;
      head.keys = keys.data();
      head.values = values.data();
      head.out = out.data();
      head.out_stride = width;
      PackKeys(head);
      PackValues(head);
      std::vector<float> scores(kQueries * RoundUp(pixels, kLanes));
      std::vector<T> weights(scores.size());
      for (int64_t unit = 0; unit < AttentionUnits(head); ++unit) {
        Attend(head, scores.data(), weights.data(), unit, unit + 1);
      }
      for (int64_t q = 0; q < pixels; ++q) {
        std::vector<double> share(pixels);
        double total = 0.0;
        for (int64_t k = 0; k < pixels; ++k) {
          double product = 0.0;
          for (int64_t c = 0; c < width; ++c) {
            product += Value(head.q[q * stride + c]) * Value(head.k[k * stride + c]);
          }
          share[k] = std::exp(product / std::sqrt(static_cast<double>(width)));
          total += share[k];
        }
        for (int64_t c = 0; c < width; ++c) {
          double expected = 0.0;
          for (int64_t k = 0; k < pixels; ++k) {
            expected += share[k] / total * Value(head.v[k * stride + c]);
          }
          ASSERT_NEAR(Value(out[q * width + c]), expected, this->Tolerance(1.0))
              << pixels << " pixels, " << width << " channels";
        }
      }
    }
  }
}

TYPED_TEST(KernelsTest, SiluIsRightAtTheExtremes) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0f,   1.0f,   -1.0f,   20.0f, -20.0f,       86.9f,
                          -86.9f, 500.0f, -500.0f, inf,   std::nanf("")};
  const std::vector<float> before = x;
  SiluInPlace(x.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < 9; ++i) {
    const double expected = before[i] / (1.0 + std::exp(-double{before[i]}));
    EXPECT_NEAR(x[i], expected, 1e-6 * (1.0 + std::abs(expected))) << before[i];
  }
  EXPECT_EQ(x[9], inf);
  EXPECT_TRUE(std::isnan(x[10]));
}

}  // namespace
}  // namespace skipstream::cpu
