#ifndef SKIPSTREAM_MODEL_NETWORK_UNET_BLOCK_H_
#define SKIPSTREAM_MODEL_NETWORK_UNET_BLOCK_H_

#include <optional>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/network/layers.h"
#include "model/network/parameter_source.h"
#include "model/network/resampling.h"

namespace skipstream {

// What the blocks of one network have in common; the families differ in it.
struct UNetBlockStyle {
  int emb_channels = 0;
  // The embedding scales the second norm and shifts it; else it is added before the norm.
  bool adaptive_scale = false;
  // A shortcut that changes the resolution only still goes through a 1x1 convolution.
  bool projects_resampled_shortcut = false;
  float skip_scale = 1.0f;  // of a sum of two branches; sqrt(1/2) keeps its variance
  float epsilon = 0.0f;     // of the norms
  std::vector<double> resample_filter;
};

// Residual block: norm, SiLU, convolution (with resampling), embedding, norm, SiLU, convolution,
// plus the shortcut; then attention, if it has any.
class UNetBlock {
 public:
  // `heads` of the attention; 0: none.
  UNetBlock(ParameterSource& source, const std::string& name, const UNetBlockStyle& style,
            int in_channels, int out_channels, Resample resample, int heads);

  // x [B, in, H, W], emb [B, emb_channels] -> [B, out, H', W'].
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& emb) const;

 private:
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

#endif  // SKIPSTREAM_MODEL_NETWORK_UNET_BLOCK_H_
