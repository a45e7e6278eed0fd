// Configures the UNet of Dhariwal and Nichol (arXiv 2105.05233), known as ADM, as EDM (arXiv
// 2206.00364) parametrises it.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_DHARIWAL_UNET_CONFIG_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_DHARIWAL_UNET_CONFIG_H_

#include "model/families/edm_unet/unet_config.h"

namespace skipstream {

// Holds the options. The defaults are the published ones for ImageNet-64.
struct DhariwalUNetConfig : UNetConfig {
  DhariwalUNetConfig() {
    model_channels = 192;
    channel_mult = {1, 2, 3, 4};
    num_blocks = 3;
    attn_resolutions = {32, 16, 8};
  }

  // Returns the attention heads of a block that attends: one per 64 channels; 0: too narrow for
  // attention.
  static int heads(int channels) { return channels / 64; }
};

// Reads the network's keys. A value out of range sticks to `fields` as InvalidArgument that names
// the key.
DhariwalUNetConfig ReadDhariwalUNetConfig(FieldReader& fields);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_DHARIWAL_UNET_CONFIG_H_
