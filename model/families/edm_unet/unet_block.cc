#include "model/families/edm_unet/unet_block.h"

#include "ATen/ops/silu.h"

namespace skipstream {

UNetBlock::UNetBlock(ParameterSource& source, const UNetBlockStyle& style,
                     const UNetBlockSpec& spec)
    : adaptive_scale_(style.adaptive_scale),
      skip_scale_(style.skip_scale),
      norm0_(source, spec.name + ".norm0", spec.in_channels, style.epsilon),
      resampler_(source, spec.name + ".conv0", spec.resample, style.resample_filter),
      conv0_(source, spec.name + ".conv0", spec.in_channels, spec.out_channels, 3),
      affine_(source, spec.name + ".affine", style.emb_channels,
              (style.adaptive_scale ? 2 : 1) * spec.out_channels),
      norm1_(source, spec.name + ".norm1", spec.out_channels, style.epsilon),
      conv1_(source, spec.name + ".conv1", spec.out_channels, spec.out_channels, 3) {
  if (HasProjectedShortcut(style, spec)) {
    shortcut_.emplace(source, spec.name + ".skip", spec.in_channels, spec.out_channels, 1);
  }
  // The shortcut resamples as the first convolution does; its filter may be stored too.
  if (spec.resample != Resample::kNone) {
    Resampler(source, spec.name + ".skip", spec.resample, style.resample_filter);
  }
  if (spec.heads > 0) {
    norm2_.emplace(source, spec.name + ".norm2", spec.out_channels, style.epsilon);
    attention_.emplace(source, spec.name, spec.out_channels, spec.heads);
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
