#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_BLOCK_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_BLOCK_H_

#include <optional>

#include "ATen/core/Tensor.h"
#include "model/families/edm_unet/unet_parameters.h"
#include "model/families/edm_unet/unet_topology.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"
#include "model/nn/resampling.h"

namespace skipstream {

// Computes a residual block: norm, SiLU, convolution (with resampling), embedding, norm, SiLU,
// convolution, plus the shortcut; then attention, if it has any.
class UNetBlock {
 public:
  UNetBlock(ParameterSource& source, const UNetBlockStyle& style, const UNetBlockSpec& spec)
      : UNetBlock(TakeBlock(source, style, spec), style, spec.heads) {}

  // Maps x [B, in, H, W] and emb [B, emb_channels] to [B, out, H', W'].
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& emb) const;

 private:
  UNetBlock(BlockParameters parameters, const UNetBlockStyle& style, int heads);

  at::Tensor Embedded(const at::Tensor& h, const at::Tensor& emb) const;

  bool adaptive_scale_;
  float skip_scale_;
  GroupNorm norm0_;
  Resampler resampler_;
  Conv conv0_;
  Linear affine_;
  GroupNorm norm1_;
  Conv conv1_;
  std::optional<Conv> shortcut_;
  std::optional<GroupNorm> norm2_;
  std::optional<Attention> attention_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_BLOCK_H_
