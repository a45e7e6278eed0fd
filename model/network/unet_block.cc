#include "model/network/unet_block.h"

#include "ATen/ops/silu.h"

namespace skipstream {

UNetBlock::UNetBlock(ParameterSource& source, const std::string& name, const UNetBlockStyle& style,
                     int in_channels, int out_channels, Resample resample, int heads)
    : adaptive_scale_(style.adaptive_scale),
      skip_scale_(style.skip_scale),
      norm0_(source, name + ".norm0", in_channels, style.epsilon),
      resampler_(source, name + ".conv0", resample, style.resample_filter),
      conv0_(source, name + ".conv0", in_channels, out_channels, 3),
      affine_(source, name + ".affine", style.emb_channels,
              (style.adaptive_scale ? 2 : 1) * out_channels),
      norm1_(source, name + ".norm1", out_channels, style.epsilon),
      conv1_(source, name + ".conv1", out_channels, out_channels, 3) {
  const bool resamples = resample != Resample::kNone;
  if (in_channels != out_channels || (resamples && style.projects_resampled_shortcut)) {
    shortcut_.emplace(source, name + ".skip", in_channels, out_channels, 1);
  }
  // The shortcut resamples as the first convolution does; its filter may be stored too.
  if (resamples) Resampler(source, name + ".skip", resample, style.resample_filter);
  if (heads > 0) {
    norm2_.emplace(source, name + ".norm2", out_channels, style.epsilon);
    attention_.emplace(source, name, out_channels, heads);
  }
}

// SiLU of the second norm under the influence of the embedding. May write into h.
at::Tensor UNetBlock::Embedded(const at::Tensor& h, const at::Tensor& emb) const {
  const at::Tensor condition = affine_(emb);
  if (adaptive_scale_) {
    const int64_t channels = condition.size(1) / 2;
    at::Tensor normed = norm1_.Modulated(h, condition.narrow(1, 0, channels),
                                         condition.narrow(1, channels, channels));
    return at::silu_(normed);
  }
  at::Tensor normed = norm1_(h.add_(condition.unsqueeze(2).unsqueeze(3)));
  return at::silu_(normed);
}

at::Tensor UNetBlock::operator()(const at::Tensor& x, const at::Tensor& emb) const {
  at::Tensor h = norm0_(x);
  h = conv0_(resampler_(at::silu_(h)));
  h = conv1_(Embedded(h, emb));
  const at::Tensor shortcut = resampler_(x);
  h.add_(shortcut_ ? (*shortcut_)(shortcut) : shortcut);
  if (skip_scale_ != 1.0f) h.mul_(skip_scale_);
  if (attention_) {
    h = (*attention_)((*norm2_)(h)).add_(h);
    if (skip_scale_ != 1.0f) h.mul_(skip_scale_);
  }
  return h;
}

}  // namespace skipstream
