#include "model/families/edm_unet/unet_block.h"

#include <utility>

#include "ATen/ops/silu.h"

namespace skipstream {

UNetBlock::UNetBlock(BlockParameters parameters, const UNetBlockStyle& style, int heads)
    : adaptive_scale_(style.adaptive_scale),
      skip_scale_(style.skip_scale),
      norm0_(std::move(parameters.norm0), style.epsilon),
      resampler_(std::move(parameters.resampler)),
      conv0_(std::move(parameters.conv0)),
      affine_(std::move(parameters.affine)),
      norm1_(std::move(parameters.norm1), style.epsilon),
      conv1_(std::move(parameters.conv1)) {
  if (parameters.shortcut.defined()) shortcut_.emplace(std::move(parameters.shortcut));
  if (heads > 0) {
    norm2_.emplace(std::move(parameters.norm2), style.epsilon);
    attention_.emplace(std::move(parameters.qkv), std::move(parameters.proj), heads);
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
