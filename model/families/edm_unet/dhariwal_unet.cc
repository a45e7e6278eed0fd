#include "model/families/edm_unet/dhariwal_unet.h"

#include "ATen/ops/silu.h"
#include "model/families/edm_unet/unet_topology.h"

namespace skipstream {

DhariwalUNet::DhariwalUNet(const DhariwalUNetConfig& config, int out_channels,
                           ParameterSource& source)
    : map_noise_(NoiseEmbedding::Positional(config.model_channels, /*reaches_end=*/false,
                                            NoiseEmbedding::Order::kCosinesFirst)) {
  const UNetTopology topology = TopologyOf(config);
  const int width = config.model_channels;
  const int emb = config.emb_channels();
  // Training fed augmentation labels through this layer; here they are always zero.
  if (config.augment_dim > 0) source.Take("model.map_augment.weight", {width, config.augment_dim});
  map_layer0_ = Linear(source, "model.map_layer0", width, emb);
  map_layer1_ = Linear(source, "model.map_layer1", emb, emb);
  if (config.label_dim > 0) {
    map_label_.emplace(source, "model.map_label", config.label_dim, emb, Linear::Bias::kNone);
  }
  enc_conv_ = Conv(source, topology.in_conv, config.img_channels, topology.in_conv_channels, 3);
  for (const UNetBlockSpec& spec : topology.encoder) {
    encoder_.emplace_back(source, topology.style, spec);
  }
  for (const UNetBlockSpec& spec : topology.decoder) {
    decoder_.push_back({UNetBlock(source, topology.style, spec), spec.skip_channels > 0});
  }
  const int channels = topology.decoder.back().out_channels;
  out_norm_ = GroupNorm(source, topology.out_norm, channels, topology.style.epsilon);
  out_conv_ = Conv(source, topology.out_conv, channels, out_channels, 3);
}

at::Tensor DhariwalUNet::Embedding(const at::Tensor& c_noise, const at::Tensor& labels) const {
  at::Tensor emb = map_layer0_(map_noise_(c_noise));
  emb = map_layer1_(at::silu_(emb));
  if (map_label_) emb.add_((*map_label_)(labels));
  return at::silu_(emb);
}

at::Tensor DhariwalUNet::Forward(const at::Tensor& x, const at::Tensor& c_noise,
                                 const at::Tensor& labels, const at::Tensor& rho) const {
  const at::Tensor emb = Embedding(c_noise, labels);
  SkipStack skips(rho);
  skips.Push(enc_conv_(x));
  for (const UNetBlock& block : encoder_) skips.Push(block(skips.top(), emb));
  at::Tensor h = skips.top();
  for (const auto& [block, takes_skip] : decoder_) h = block(takes_skip ? skips.Join(h) : h, emb);
  h = out_norm_(h);
  return out_conv_(at::silu_(h));
}

}  // namespace skipstream
