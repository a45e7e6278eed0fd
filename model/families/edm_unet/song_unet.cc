#include "model/families/edm_unet/song_unet.h"

#include <utility>

#include "ATen/ops/silu.h"
#include "model/families/edm_unet/unet_topology.h"

namespace skipstream {

SongUNet::SongUNet(const SongUNetConfig& config, int out_channels, ParameterSource& source)
    : embedding_(TakeEmbedding(source, config)) {
  const UNetTopology topology = TopologyOf(config);
  skip_scale_ = topology.style.skip_scale;

  enc_conv_ = Conv(source, topology.in_conv, config.img_channels, topology.in_conv_channels, 3);
  int aux_channels = config.img_channels;
  for (const UNetBlockSpec& spec : topology.encoder) {
    EncoderStep& step = encoder_.emplace_back(UNetBlock(source, topology.style, spec));
    if (spec.resample == Resample::kNone) continue;
    const auto name = [&](const char* layer) {
      return UNetLayerName("enc", config.resolution(spec.level), layer);
    };
    const int channels = spec.out_channels;
    if (config.encoder_type == SongUNetConfig::Encoder::kSkip) {
      step.aux_down.emplace(source, name("aux_down"), Resample::kDown, config.resample_filter);
      step.aux_skip.emplace(source, name("aux_skip"), aux_channels, channels, 1);
    } else if (config.encoder_type == SongUNetConfig::Encoder::kResidual) {
      step.aux_residual.emplace(source, name("aux_residual"), aux_channels, channels,
                                config.resample_filter);
      aux_channels = channels;
    }
  }

  for (size_t i = 0; i < topology.decoder.size(); ++i) {
    const UNetBlockSpec& spec = topology.decoder[i];
    DecoderStep& step =
        decoder_.emplace_back(UNetBlock(source, topology.style, spec), spec.skip_channels > 0);
    const bool last = i + 1 == topology.decoder.size();
    if (!last && (topology.decoder[i + 1].level == spec.level ||
                  config.decoder_type != SongUNetConfig::Decoder::kSkip)) {
      continue;
    }
    const auto name = [&](const char* layer) {
      return UNetLayerName("dec", config.resolution(spec.level), layer);
    };
    if (config.decoder_type == SongUNetConfig::Decoder::kSkip &&
        spec.level < config.num_levels() - 1) {
      step.aux_up.emplace(source, name("aux_up"), Resample::kUp, config.resample_filter);
    }
    step.aux_norm.emplace(TakeNorm(source, name("aux_norm"), spec.out_channels),
                          topology.style.epsilon);
    step.aux_conv.emplace(source, name("aux_conv"), spec.out_channels, out_channels, 3);
  }
}

at::Tensor SongUNet::Forward(const at::Tensor& x, const at::Tensor& c_noise,
                             const at::Tensor& labels, const at::Tensor& rho) const {
  const at::Tensor emb = embedding_(c_noise, labels);
  SkipStack skips(rho);
  skips.Push(enc_conv_(x));
  at::Tensor aux = x;
  for (const EncoderStep& step : encoder_) {
    skips.Push(step.block(skips.top(), emb));
    if (step.aux_skip) {
      aux = (*step.aux_down)(aux);
      skips.top().add_((*step.aux_skip)(aux));
    }
    if (step.aux_residual) {
      aux = (*step.aux_residual)(aux).add_(skips.top()).mul_(skip_scale_);
      skips.top() = aux;
    }
  }

  at::Tensor h = skips.top();
  at::Tensor out;
  for (const DecoderStep& step : decoder_) {
    h = step.block(step.takes_skip ? skips.Join(h) : h, emb);
    if (step.aux_up) out = (*step.aux_up)(out);
    if (step.aux_conv) {
      at::Tensor normed = (*step.aux_norm)(h);
      at::Tensor added = (*step.aux_conv)(at::silu_(normed));
      out = out.defined() ? added.add_(out) : std::move(added);
    }
  }
  return out;
}

}  // namespace skipstream
