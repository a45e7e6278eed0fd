#include "model/nn/group_norm_kernel.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace skipstream {
namespace {

// Pixels summed in float32 before the sum moves to float64.
constexpr int64_t kChunk = 16;

// totals[c] = sum over the pixels of value(x[pixel, c], c).
template <typename Value>
void SumPixels(const GroupNormShape& shape, const float* x, Value value,
               std::vector<float>& partial, std::vector<double>& totals) {
  std::fill(totals.begin(), totals.end(), 0.0);
  for (int64_t first = 0; first < shape.pixels; first += kChunk) {
    const int64_t last = std::min(first + kChunk, shape.pixels);
    std::fill(partial.begin(), partial.end(), 0.0f);
    for (int64_t p = first; p < last; ++p) {
      const float* pixel = x + p * shape.channels;
      for (int64_t c = 0; c < shape.channels; ++c) partial[c] += value(pixel[c], c);
    }
    for (int64_t c = 0; c < shape.channels; ++c) totals[c] += partial[c];
  }
}

}  // namespace

void GroupNormChannelsLast(const GroupNormShape& shape, const float* x, const float* weight,
                           const float* bias, float* out) {
  const int64_t width = shape.channels / shape.groups;
  const double count = static_cast<double>(width * shape.pixels);
  std::vector<float> partial(shape.channels);
  std::vector<double> totals(shape.channels);
  // Replaces totals[c] by the sum over the group of c, divided by its number of elements.
  const auto average_groups = [&] {
    for (int64_t g = 0; g < shape.groups; ++g) {
      double sum = 0.0;
      for (int64_t c = g * width; c < (g + 1) * width; ++c) sum += totals[c];
      std::fill_n(totals.begin() + g * width, width, sum / count);
    }
  };

  SumPixels(shape, x, [](float v, int64_t) { return v; }, partial, totals);
  average_groups();
  const std::vector<float> mean(totals.begin(), totals.end());
  const float* const means = mean.data();
  SumPixels(
      shape, x, [means](float v, int64_t c) { return (v - means[c]) * (v - means[c]); }, partial,
      totals);
  average_groups();

  std::vector<float> scale(shape.channels);
  std::vector<float> shift(shape.channels);
  for (int64_t c = 0; c < shape.channels; ++c) {
    scale[c] = weight[c] / std::sqrt(static_cast<float>(totals[c]) + shape.epsilon);
    shift[c] = bias[c] - mean[c] * scale[c];
  }
  for (int64_t p = 0; p < shape.pixels; ++p) {
    const float* in = x + p * shape.channels;
    float* to = out + p * shape.channels;
    for (int64_t c = 0; c < shape.channels; ++c) to[c] = in[c] * scale[c] + shift[c];
  }
}

}  // namespace skipstream
