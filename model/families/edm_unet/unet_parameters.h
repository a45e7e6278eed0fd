// Says once which tensors a block and an embedding take from a model file. Backends pack them.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_PARAMETERS_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_PARAMETERS_H_

#include "model/families/edm_unet/dhariwal_unet_config.h"
#include "model/families/edm_unet/song_unet_config.h"
#include "model/families/edm_unet/unet_topology.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"
#include "model/nn/parameters.h"
#include "model/nn/resampling.h"

namespace skipstream {

// Holds the parameters of a residual block, and of the attention behind it if it has any.
struct BlockParameters {
  NormParameters norm0;
  Resampler resampler;  // of the first convolution and of the shortcut
  LayerParameters conv0;
  LayerParameters
      affine;  // outputs: scale and shift of the second norm, or what is added before it
  NormParameters norm1;
  LayerParameters conv1;
  LayerParameters shortcut;  // 1x1; undefined weight: the identity, or no values
  NormParameters norm2;      // with attention
  LayerParameters qkv;       // 1x1, outputs stored as (head, channel, part)
  LayerParameters proj;
};

BlockParameters TakeBlock(ParameterSource& source, const UNetBlockStyle& style,
                          const UNetBlockSpec& spec);

// Holds the parameters that turn noise conditions and classes into the embedding of a network.
struct EmbeddingParameters {
  int noise_channels = 0;
  NoiseEmbedding map_noise;
  LayerParameters map_label;  // undefined weight: no classes, or no values
  float label_factor = 1.0f;  // of the one-hot class
  bool label_first = false;   // the class joins the noise embedding; else the layers' output
  LayerParameters layer0;
  LayerParameters layer1;
};

EmbeddingParameters TakeEmbedding(ParameterSource& source, const SongUNetConfig& config);
EmbeddingParameters TakeEmbedding(ParameterSource& source, const DhariwalUNetConfig& config);

// Computes the embedding [B, emb_channels] with LibTorch's operations.
class Embedding {
 public:
  Embedding() = default;
  explicit Embedding(const EmbeddingParameters& parameters);

  // Maps c_noise [B] and one-hot labels [B, label_dim], undefined without classes.
  at::Tensor operator()(const at::Tensor& c_noise, const at::Tensor& labels) const;

 private:
  void AddLabel(const at::Tensor& labels, at::Tensor& to) const;

  EmbeddingParameters parameters_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_PARAMETERS_H_
