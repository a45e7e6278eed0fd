// Implements the SongUNet of Song et al. (arXiv 2011.13456), DDPM++ and NCSN++, as EDM (arXiv
// 2206.00364) parametrises it.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_SONG_UNET_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_SONG_UNET_H_

#include <optional>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/families/edm_unet/song_unet_config.h"
#include "model/families/edm_unet/unet.h"
#include "model/families/edm_unet/unet_block.h"
#include "model/families/edm_unet/unet_parameters.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"
#include "model/nn/resampling.h"

namespace skipstream {

class SongUNet final : public UNet {
 public:
  // Returns out_channels channels per pixel.
  SongUNet(const SongUNetConfig& config, int out_channels, ParameterSource& source);

  at::Tensor Forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels,
                     const at::Tensor& rho) const override;

 private:
  struct EncoderStep {
    UNetBlock block;
    // Set for encoder kSkip at a level's first block: the image, downsampled once per level, enters
    // through a 1x1 convolution.
    std::optional<Resampler> aux_down;
    std::optional<Conv> aux_skip;
    // Set for encoder kResidual, at the same blocks.
    std::optional<DownConv> aux_residual;
  };
  struct DecoderStep {
    UNetBlock block;
    bool takes_skip = false;
    // Layers that add a level's contribution to the output after its last block: the finest level's
    // always, the others' with decoder kSkip.
    std::optional<Resampler> aux_up;  // for the coarser levels' output; none at the coarsest
    std::optional<GroupNorm> aux_norm;
    std::optional<Conv> aux_conv;
  };

  Embedding embedding_;
  Conv enc_conv_;
  float skip_scale_ = 1.0f;
  std::vector<EncoderStep> encoder_;
  std::vector<DecoderStep> decoder_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_SONG_UNET_H_
