// The `config` of a model file: constructor arguments of the published SongUNet and its
// preconditioner, in the DDPM++ form (EDM, arXiv 2206.00364, appendix; Song et al., arXiv
// 2011.13456).
#ifndef SKIPSTREAM_MODEL_NETWORK_SONG_UNET_CONFIG_H_
#define SKIPSTREAM_MODEL_NETWORK_SONG_UNET_CONFIG_H_

#include <vector>

namespace skipstream {

class FieldReader;

// Names as in the JSON; the defaults are the published ones for DDPM++.
struct SongUNetConfig {
  int img_resolution = 0;  // required
  int img_channels = 0;    // required
  int label_dim = 0;       // classes; 0: unconditional
  int augment_dim = 0;     // width of the augmentation label of training; none is fed here
  int model_channels = 128;
  std::vector<int> channel_mult = {1, 2, 2, 2};
  int channel_mult_emb = 4;
  int num_blocks = 4;
  std::vector<int> attn_resolutions = {16};

  int num_levels() const { return static_cast<int>(channel_mult.size()); }
  int emb_channels() const { return model_channels * channel_mult_emb; }
  // K: what the encoder hands to the decoder, one tensor per block and per level's first layer.
  int num_skips() const { return num_levels() * (num_blocks + 1); }
};

// Reads the network's keys. A value out of range sticks to `fields` as InvalidArgument, a form of
// the network that is not built (NCSN++, ADM, use_fp16) as Unimplemented; both name the key.
SongUNetConfig ReadSongUNetConfig(FieldReader& fields);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_SONG_UNET_CONFIG_H_
