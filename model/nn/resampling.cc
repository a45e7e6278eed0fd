#include "model/nn/resampling.h"

#include <cstdint>
#include <numeric>

#include "ATen/ops/avg_pool2d.h"
#include "ATen/ops/conv2d.h"
#include "ATen/ops/conv_transpose2d.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/upsample_nearest2d.h"

namespace skipstream {
namespace {

constexpr double kFilterTolerance = 1e-6;  // float32

}  // namespace

Resampler::Resampler(ParameterSource& source, const std::string& layer, Resample direction,
                     const std::vector<double>& taps)
    : direction_(direction) {
  if (direction == Resample::kNone) return;
  const auto length = static_cast<int64_t>(taps.size());
  box_ = length == 2 && taps[0] == taps[1];
  padding_ = static_cast<int>((length - 1) / 2);
  const double sum = std::accumulate(taps.begin(), taps.end(), 0.0);
  std::vector<double> filter;
  for (const double row : taps) {
    for (const double column : taps) filter.push_back(row * column / (sum * sum));
  }
  source.CheckBuffer(layer + ".resample_filter", {1, 1, length, length}, filter, kFilterTolerance);
  filter_ = at::empty({1, 1, length, length}, at::kFloat);
  for (size_t i = 0; i < filter.size(); ++i) {
    filter_.mutable_data_ptr<float>()[i] =
        static_cast<float>(filter[i] * (direction == Resample::kUp ? 4.0 : 1.0));
  }
}

at::Tensor Resampler::Apply(const at::Tensor& x, int padding) const {
  if (direction_ == Resample::kNone) return x;
  if (box_) {
    return direction_ == Resample::kUp ? at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)})
                                       : at::avg_pool2d(x, 2);
  }
  const int64_t channels = x.size(1);
  const at::Tensor weight = filter_.expand({channels, 1, filter_.size(2), filter_.size(3)});
  return direction_ == Resample::kUp
             ? at::conv_transpose2d(x, weight, /*bias=*/{}, /*stride=*/2, padding,
                                    /*output_padding=*/0, channels)
             : at::conv2d(x, weight, /*bias=*/{}, /*stride=*/2, padding, /*dilation=*/1, channels);
}

}  // namespace skipstream
