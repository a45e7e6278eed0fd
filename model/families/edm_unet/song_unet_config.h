// Configures the SongUNet of Song et al. (arXiv 2011.13456) with the options that EDM (arXiv
// 2206.00364) gives it.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_SONG_UNET_CONFIG_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_SONG_UNET_CONFIG_H_

#include <vector>

#include "model/families/edm_unet/unet_config.h"

namespace skipstream {

// Holds the options under their names in the JSON. The defaults are the published ones, DDPM++.
// NCSN++ is embedding_type "fourier", encoder_type "residual", channel_mult_noise 2 and
// resample_filter [1, 3, 3, 1].
struct SongUNetConfig : UNetConfig {
  enum class Embedding { kPositional, kFourier };
  // Selects the encoder's input beside its own features from level 1 on: nothing; the downsampled
  // image; a chain of strided convolutions that starts from the image.
  enum class Encoder { kStandard, kSkip, kResidual };
  // Selects the levels that add to the output: only the finest one, or every level.
  enum class Decoder { kStandard, kSkip };

  SongUNetConfig() {
    model_channels = 128;
    channel_mult = {1, 2, 2, 2};
    num_blocks = 4;
    attn_resolutions = {16};
  }

  Embedding embedding_type = Embedding::kPositional;
  Encoder encoder_type = Encoder::kStandard;
  Decoder decoder_type = Decoder::kStandard;
  int channel_mult_noise = 1;
  std::vector<double> resample_filter = {1.0, 1.0};  // of even length, not normalised

  int noise_channels() const { return model_channels * channel_mult_noise; }
};

// Reads the network's keys. A value out of range sticks to `fields` as InvalidArgument that names
// the key.
SongUNetConfig ReadSongUNetConfig(FieldReader& fields);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_SONG_UNET_CONFIG_H_
