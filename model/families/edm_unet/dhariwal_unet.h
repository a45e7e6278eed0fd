// Implements the UNet of Dhariwal and Nichol (arXiv 2105.05233), ADM, as EDM (arXiv 2206.00364)
// parametrises it.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_DHARIWAL_UNET_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_DHARIWAL_UNET_H_

#include <optional>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/families/edm_unet/dhariwal_unet_config.h"
#include "model/families/edm_unet/unet.h"
#include "model/families/edm_unet/unet_block.h"
#include "model/families/edm_unet/unet_parameters.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

class DhariwalUNet final : public UNet {
 public:
  // Returns out_channels channels per pixel.
  DhariwalUNet(const DhariwalUNetConfig& config, int out_channels, ParameterSource& source);

  at::Tensor Forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels,
                     const at::Tensor& rho) const override;

 private:
  struct DecoderBlock {
    UNetBlock block;
    bool takes_skip;
  };

  Embedding embedding_;
  Conv enc_conv_;
  std::vector<UNetBlock> encoder_;
  std::vector<DecoderBlock> decoder_;
  GroupNorm out_norm_;
  Conv out_conv_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_DHARIWAL_UNET_H_
