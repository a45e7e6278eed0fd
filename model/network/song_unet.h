// The SongUNet of Song et al. (arXiv 2011.13456) in its DDPM++ form, as EDM (arXiv 2206.00364)
// parametrises it, with one addition: every skip connection is scaled by a coefficient of its own,
// per row.
#ifndef SKIPSTREAM_MODEL_NETWORK_SONG_UNET_H_
#define SKIPSTREAM_MODEL_NETWORK_SONG_UNET_H_

#include <optional>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/network/layers.h"
#include "model/network/parameter_reader.h"
#include "model/network/song_unet_config.h"

namespace skipstream {

// Residual block: norm, SiLU, convolution (with resampling), embedding, norm, SiLU, convolution,
// plus the shortcut; then attention, if it has any.
class UNetBlock {
 public:
  enum class Resample { kNone, kUp, kDown };

  UNetBlock(ParameterReader& reader, const std::string& name, int in_channels, int out_channels,
            int emb_channels, Resample resample, bool attention);

  // x [B, in, H, W], emb [B, emb_channels] -> [B, out, H', W'].
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& emb) const;

 private:
  at::Tensor Resampled(const at::Tensor& x) const;

  Resample resample_;
  GroupNorm norm0_;
  Conv conv0_;
  Linear affine_;
  GroupNorm norm1_;
  Conv conv1_;
  std::optional<Conv> shortcut_;
  std::optional<GroupNorm> norm2_;
  std::optional<Attention> attention_;
};

// Immutable; usable from several threads.
class SongUNet {
 public:
  // Takes every parameter from `reader`, whose Finish() tells whether the network is whole.
  SongUNet(const SongUNetConfig& config, ParameterReader& reader);

  // x [B, C, H, W] in channels-last memory, c_noise [B], labels [B, label_dim] (one-hot, or zero
  // for no class; undefined if label_dim is 0), rho [B, K]: skip i of row b, 0 the deepest, is
  // multiplied by rho[b, i] before it is concatenated behind the decoder's features. All float32.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels,
                     const at::Tensor& rho) const;

 private:
  struct DecoderBlock {
    UNetBlock block;
    bool takes_skip;
  };

  SongUNetConfig config_;
  PositionalEmbedding map_noise_;
  std::optional<Linear> map_label_;
  Linear map_layer0_;
  Linear map_layer1_;
  Conv enc_conv_;
  std::vector<UNetBlock> encoder_;
  std::vector<DecoderBlock> decoder_;
  GroupNorm aux_norm_;
  Conv aux_conv_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_SONG_UNET_H_
