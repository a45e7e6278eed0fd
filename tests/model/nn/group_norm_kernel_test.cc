#include "model/nn/group_norm_kernel.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace skipstream {
namespace {

// The definition, in float64.
std::vector<double> Reference(const GroupNormShape& shape, const std::vector<float>& x,
                              const std::vector<float>& weight, const std::vector<float>& bias) {
  const int64_t width = shape.channels / shape.groups;
  std::vector<double> out(x.size());
  for (int64_t g = 0; g < shape.groups; ++g) {
    double sum = 0.0;
    double squares = 0.0;
    const auto each = [&](auto visit) {
      for (int64_t p = 0; p < shape.pixels; ++p) {
        for (int64_t c = g * width; c < (g + 1) * width; ++c) visit(p * shape.channels + c, c);
      }
    };
    const double count = static_cast<double>(width * shape.pixels);
    each([&](int64_t i, int64_t) { sum += x[i]; });
    const double mean = sum / count;
    each([&](int64_t i, int64_t) { squares += (x[i] - mean) * (x[i] - mean); });
    const double deviation = std::sqrt(squares / count + shape.epsilon);
    each([&](int64_t i, int64_t c) { out[i] = (x[i] - mean) / deviation * weight[c] + bias[c]; });
  }
  return out;
}

TEST(GroupNormKernelTest, AgreesWithTheDefinitionFarFromZeroToo) {
  for (const GroupNormShape& shape :
       {GroupNormShape{1, 4, 1, 1e-6f}, GroupNormShape{37, 12, 3, 1e-6f},
        GroupNormShape{256, 96, 24, 1e-6f}, GroupNormShape{64, 256, 32, 1e-6f}}) {
    for (const float offset : {0.0f, 100.0f}) {
      std::mt19937 random(7);
      std::normal_distribution<float> normal;
      std::vector<float> x(shape.pixels * shape.channels);
      std::vector<float> weight(shape.channels);
      std::vector<float> bias(shape.channels);
      for (float& v : x) v = normal(random) + offset;
      for (float& v : weight) v = normal(random);
      for (float& v : bias) v = normal(random);
      const std::vector<double> expected = Reference(shape, x, weight, bias);
      GroupNormChannelsLast(shape, x.data(), weight.data(), bias.data(), x.data());
      for (size_t i = 0; i < x.size(); ++i) {
        // At offset 100 the input itself carries an error of 4e-6.
        ASSERT_NEAR(x[i], expected[i], offset == 0.0f ? 5e-6 : 2e-4) << i;
      }
    }
  }
}

}  // namespace
}  // namespace skipstream
