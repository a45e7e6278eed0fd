#include "model/families/edm_unet/dhariwal_unet.h"

#include "ATen/ops/silu.h"
#include "model/families/edm_unet/unet_topology.h"

namespace skipstream {

DhariwalUNet::DhariwalUNet(const DhariwalUNetConfig& config, int out_channels,
                           ParameterSource& source)
    : embedding_(TakeEmbedding(source, config)) {
  const UNetTopology topology = TopologyOf(config);
  enc_conv_ = Conv(source, topology.in_conv, config.img_channels, topology.in_conv_channels, 3);
  for (const UNetBlockSpec& spec : topology.encoder) {
    encoder_.emplace_back(source, topology.style, spec);
  }
  for (const UNetBlockSpec& spec : topology.decoder) {
    decoder_.push_back({UNetBlock(source, topology.style, spec), spec.skip_channels > 0});
  }
  const int channels = topology.decoder.back().out_channels;
  out_norm_ = GroupNorm(TakeNorm(source, topology.out_norm, channels), topology.style.epsilon);
  out_conv_ = Conv(source, topology.out_conv, channels, out_channels, 3);
}

at::Tensor DhariwalUNet::Forward(const at::Tensor& x, const at::Tensor& c_noise,
                                 const at::Tensor& labels, const at::Tensor& rho) const {
  const at::Tensor emb = embedding_(c_noise, labels);
  SkipStack skips(rho);
  skips.Push(enc_conv_(x));
  for (const UNetBlock& block : encoder_) skips.Push(block(skips.top(), emb));
  at::Tensor h = skips.top();
  for (const auto& [block, takes_skip] : decoder_) h = block(takes_skip ? skips.Join(h) : h, emb);
  h = out_norm_(h);
  return out_conv_(at::silu_(h));
}

}  // namespace skipstream
