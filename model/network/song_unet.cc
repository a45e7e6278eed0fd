#include "model/network/song_unet.h"

#include <cmath>
#include <string>
#include <utility>

#include "ATen/ops/silu.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

constexpr float kEpsilon = 1e-6f;
// Keeps the variance of a sum of two branches.
const float kSkipScale = std::sqrt(0.5f);

}  // namespace

SongUNet::SongUNet(const SongUNetConfig& config, int out_channels, ParameterSource& source)
    : config_(config) {
  using Encoder = SongUNetConfig::Encoder;
  const int noise = config.noise_channels();
  const int emb = config.emb_channels();
  const UNetBlockStyle style = {.emb_channels = emb,
                                .adaptive_scale = false,
                                .projects_resampled_shortcut = true,
                                .skip_scale = kSkipScale,
                                .epsilon = kEpsilon,
                                .resample_filter = config.resample_filter};

  map_noise_ = config.embedding_type == SongUNetConfig::Embedding::kFourier
                   ? NoiseEmbedding::Fourier(source, "model.map_noise", noise)
                   : NoiseEmbedding::Positional(noise, /*reaches_end=*/true,
                                                NoiseEmbedding::Order::kSinesFirst);
  if (config.label_dim > 0) map_label_.emplace(source, "model.map_label", config.label_dim, noise);
  // Training fed augmentation labels through this layer; here they are always zero.
  if (config.augment_dim > 0) source.Take("model.map_augment.weight", {noise, config.augment_dim});
  map_layer0_ = Linear(source, "model.map_layer0", noise, emb);
  map_layer1_ = Linear(source, "model.map_layer1", emb, emb);

  std::vector<int> skip_channels;
  int channels = config.model_channels;
  int aux_channels = config.img_channels;
  for (int level = 0; level < config.num_levels(); ++level) {
    const auto name = [&](const std::string& layer) {
      return UNetLayerName("enc", config.resolution(level), layer);
    };
    EncoderLevel& built = encoder_.emplace_back();
    if (level == 0) {
      enc_conv_ = Conv(source, name("conv"), config.img_channels, channels, 3);
    } else {
      built.down.emplace(source, name("down"), style, channels, channels, Resample::kDown, 0);
      if (config.encoder_type == Encoder::kSkip) {
        built.aux_down.emplace(source, name("aux_down"), Resample::kDown, config.resample_filter);
        built.aux_skip.emplace(source, name("aux_skip"), aux_channels, channels, 1);
      } else if (config.encoder_type == Encoder::kResidual) {
        built.aux_residual.emplace(source, name("aux_residual"), aux_channels, channels,
                                   config.resample_filter);
        aux_channels = channels;
      }
    }
    skip_channels.push_back(channels);
    for (int i = 0; i < config.num_blocks; ++i) {
      const int out = config.channels(level);
      built.blocks.emplace_back(source, name(absl::StrCat("block", i)), style, channels, out,
                                Resample::kNone, config.attends(level) ? 1 : 0);
      channels = out;
      skip_channels.push_back(channels);
    }
  }

  const int coarsest = config.num_levels() - 1;
  for (int level = coarsest; level >= 0; --level) {
    const auto name = [&](const std::string& layer) {
      return UNetLayerName("dec", config.resolution(level), layer);
    };
    DecoderLevel& built = decoder_.emplace_back();
    const auto enter = [&](const char* layer, Resample resample, int heads) {
      built.entry.emplace_back(source, name(layer), style, channels, channels, resample, heads);
    };
    if (level == coarsest) {
      enter("in0", Resample::kNone, 1);
      enter("in1", Resample::kNone, 0);
    } else {
      enter("up", Resample::kUp, 0);
    }
    for (int i = 0; i <= config.num_blocks; ++i) {
      const bool attends = i == config.num_blocks && config.attends(level);
      const int out = config.channels(level);
      built.blocks.emplace_back(source, name(absl::StrCat("block", i)), style,
                                channels + skip_channels.back(), out, Resample::kNone,
                                attends ? 1 : 0);
      skip_channels.pop_back();
      channels = out;
    }
    if (config.decoder_type == SongUNetConfig::Decoder::kSkip || level == 0) {
      if (config.decoder_type == SongUNetConfig::Decoder::kSkip && level < coarsest) {
        built.aux_up.emplace(source, name("aux_up"), Resample::kUp, config.resample_filter);
      }
      built.aux_norm.emplace(source, name("aux_norm"), channels, kEpsilon);
      built.aux_conv.emplace(source, name("aux_conv"), channels, out_channels, 3);
    }
  }
}

at::Tensor SongUNet::Embedding(const at::Tensor& c_noise, const at::Tensor& labels) const {
  at::Tensor emb = map_noise_(c_noise);
  if (map_label_) {
    emb.add_((*map_label_)(labels.mul(std::sqrt(static_cast<float>(config_.label_dim)))));
  }
  emb = map_layer0_(emb);
  emb = map_layer1_(at::silu_(emb));
  return at::silu_(emb);
}

at::Tensor SongUNet::Forward(const at::Tensor& x, const at::Tensor& c_noise,
                             const at::Tensor& labels, const at::Tensor& rho) const {
  const at::Tensor emb = Embedding(c_noise, labels);
  SkipStack skips(rho);
  skips.Push(enc_conv_(x));
  at::Tensor aux = x;
  for (const EncoderLevel& level : encoder_) {
    if (level.down) skips.Push((*level.down)(skips.top(), emb));
    if (level.aux_skip) {
      aux = (*level.aux_down)(aux);
      skips.top().add_((*level.aux_skip)(aux));
    }
    if (level.aux_residual) {
      aux = (*level.aux_residual)(aux).add_(skips.top()).mul_(kSkipScale);
      skips.top() = aux;
    }
    for (const UNetBlock& block : level.blocks) skips.Push(block(skips.top(), emb));
  }

  at::Tensor h = skips.top();
  at::Tensor out;
  for (const DecoderLevel& level : decoder_) {
    for (const UNetBlock& block : level.entry) h = block(h, emb);
    for (const UNetBlock& block : level.blocks) h = block(skips.Join(h), emb);
    if (level.aux_up) out = (*level.aux_up)(out);
    if (level.aux_conv) {
      at::Tensor normed = (*level.aux_norm)(h);
      at::Tensor added = (*level.aux_conv)(at::silu_(normed));
      out = out.defined() ? added.add_(out) : std::move(added);
    }
  }
  return out;
}

}  // namespace skipstream
