// Halves and doubles the resolution with a small separable filter.
#ifndef SKIPSTREAM_MODEL_NN_RESAMPLING_H_
#define SKIPSTREAM_MODEL_NN_RESAMPLING_H_

#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"
#include "model/nn/resample.h"

namespace skipstream {

// Applies the filter f = outer(taps, taps) / sum(taps)^2 to every channel. Down has stride 2; up is
// the transposed convolution of stride 2 with 4 f, which keeps the mean.
class Resampler {
 public:
  Resampler() = default;  // leaves the resolution alone
  // `taps` has even length and a positive sum. Checks `<layer>.resample_filter`, which some writers
  // store, against it.
  Resampler(ParameterSource& source, const std::string& layer, Resample direction,
            const std::vector<double>& taps);

  // Maps [B, C, H, W] to [B, C, 2H, 2W] or [B, C, H/2, W/2].
  at::Tensor operator()(const at::Tensor& x) const { return Apply(x, padding_); }

  // Downsamples x, which has margin() extra pixels on every side: no zeros enter.
  at::Tensor WithoutPadding(const at::Tensor& x) const { return Apply(x, 0); }
  int margin() const { return padding_; }

 private:
  at::Tensor Apply(const at::Tensor& x, int padding) const;

  Resample direction_ = Resample::kNone;
  bool box_ = false;  // taps [1, 1]: an average or a copy, which LibTorch implements
  int padding_ = 0;
  at::Tensor filter_;  // [1, 1, L, L]; times 4 for up
};

// Convolves 3x3 and halves in one: the filter sees the convolution's values beyond the border, not
// zeros.
class DownConv {
 public:
  DownConv(ParameterSource& source, const std::string& name, int in_channels, int out_channels,
           const std::vector<double>& taps)
      : resampler_(source, name, Resample::kDown, taps),
        conv_(source, name, in_channels, out_channels, 3, resampler_.margin()) {}

  at::Tensor operator()(const at::Tensor& x) const { return resampler_.WithoutPadding(conv_(x)); }

 private:
  Resampler resampler_;
  Conv conv_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_RESAMPLING_H_
