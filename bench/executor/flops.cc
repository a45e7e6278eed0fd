#include "bench/executor/flops.h"

#include <variant>

#include "model/families/edm_unet/unet_topology.h"

namespace skipstream::bench {

double FlopsPerRow(const ModelDescription& model) {
  const UNetTopology topology =
      std::visit([](const auto& config) { return TopologyOf(config); }, model.config);
  const auto pixels = [&](int level) {
    const double across = topology.resolution >> level;
    return across * across;
  };
  const auto conv = [&](int level, double in, double out, double taps) {
    return 2.0 * pixels(level) * in * out * taps;
  };
  const int image = model.info.channels;
  double flops = conv(0, image, topology.in_conv_channels, 9) +
                 conv(0, topology.decoder.back().out_channels,
                      image * model.info.parametrization.outputs_per_channel(), 9);
  for (const auto* blocks : {&topology.encoder, &topology.decoder}) {
    for (const UNetBlockSpec& block : *blocks) {
      const double in = block.in_channels;
      const double out = block.out_channels;
      flops += conv(block.level, in, out, 9) + conv(block.level, out, out, 9);
      if (HasProjectedShortcut(topology.style, block)) flops += conv(block.level, in, out, 1);
      flops += 2.0 * topology.style.emb_channels * out * (topology.style.adaptive_scale ? 2 : 1);
      if (block.heads == 0) continue;
      flops += conv(block.level, out, 4 * out, 1);  // qkv and proj
      flops +=
          2 * 2.0 * pixels(block.level) * pixels(block.level) * out;  // q k^T, and that times v
    }
  }
  return flops;
}

}  // namespace skipstream::bench
