// Reads the options that the published UNet families have in common in the `config` of a model
// file. They are constructor arguments of network and preconditioner (EDM, arXiv 2206.00364,
// appendix). Torch-free.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_CONFIG_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_CONFIG_H_

#include <vector>

namespace skipstream {

class FieldReader;

// Holds the options under their names in the JSON. The families differ in their defaults.
struct UNetConfig {
  int img_resolution = 0;      // required
  int img_channels = 0;        // required
  int label_dim = 0;           // classes; 0: unconditional
  double label_dropout = 0.0;  // share of training steps without the class
  int augment_dim = 0;         // width of the augmentation label of training; none is fed here
  int model_channels = 0;
  std::vector<int> channel_mult;  // one per level, finest first
  int channel_mult_emb = 4;
  int num_blocks = 0;
  std::vector<int> attn_resolutions;

  int num_levels() const { return static_cast<int>(channel_mult.size()); }
  // Return the pixels along an edge, and the channels of the blocks.
  int resolution(int level) const { return img_resolution >> level; }
  int channels(int level) const { return model_channels * channel_mult[level]; }
  bool attends(int level) const;
  int emb_channels() const { return model_channels * channel_mult_emb; }
  // Returns K, the number of tensors that the encoder hands to the decoder: one per block and per
  // level's first layer.
  int num_skips() const { return num_levels() * (num_blocks + 1); }
};

// Reads the keys above and those that only matter in training or for speed (dropout, use_fp16) into
// `config`, which holds the defaults. A value out of range sticks to `fields` as InvalidArgument
// that names the key; `config` is to be used only if none did.
void ReadUNetConfig(FieldReader& fields, UNetConfig& config);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_CONFIG_H_
