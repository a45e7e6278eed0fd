#include "model/network/dhariwal_unet.h"

#include <string>

#include "ATen/ops/silu.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

constexpr float kEpsilon = 1e-5f;

}  // namespace

DhariwalUNet::DhariwalUNet(const DhariwalUNetConfig& config, int out_channels,
                           ParameterSource& source)
    : map_noise_(NoiseEmbedding::Positional(config.model_channels, /*reaches_end=*/false,
                                            NoiseEmbedding::Order::kCosinesFirst)) {
  const int width = config.model_channels;
  const int emb = config.emb_channels();
  const UNetBlockStyle style = {.emb_channels = emb,
                                .adaptive_scale = true,
                                .projects_resampled_shortcut = false,
                                .skip_scale = 1.0f,
                                .epsilon = kEpsilon,
                                .resample_filter = {1.0, 1.0}};

  // Training fed augmentation labels through this layer; here they are always zero.
  if (config.augment_dim > 0) source.Take("model.map_augment.weight", {width, config.augment_dim});
  map_layer0_ = Linear(source, "model.map_layer0", width, emb);
  map_layer1_ = Linear(source, "model.map_layer1", emb, emb);
  if (config.label_dim > 0) {
    map_label_.emplace(source, "model.map_label", config.label_dim, emb, Linear::Bias::kNone);
  }

  std::vector<int> skip_channels;
  int channels = config.channels(0);
  for (int level = 0; level < config.num_levels(); ++level) {
    const auto name = [&](const std::string& layer) {
      return UNetLayerName("enc", config.resolution(level), layer);
    };
    if (level == 0) {
      enc_conv_ = Conv(source, name("conv"), config.img_channels, channels, 3);
    } else {
      encoder_.emplace_back(source, name("down"), style, channels, channels, Resample::kDown, 0);
    }
    skip_channels.push_back(channels);
    for (int i = 0; i < config.num_blocks; ++i) {
      const int out = config.channels(level);
      encoder_.emplace_back(source, name(absl::StrCat("block", i)), style, channels, out,
                            Resample::kNone,
                            config.attends(level) ? DhariwalUNetConfig::heads(out) : 0);
      channels = out;
      skip_channels.push_back(channels);
    }
  }

  for (int level = config.num_levels() - 1; level >= 0; --level) {
    const auto add = [&](const std::string& layer, int in, int out, Resample resample,
                         bool attention, bool takes_skip) {
      decoder_.push_back(
          {UNetBlock(source, UNetLayerName("dec", config.resolution(level), layer), style, in, out,
                     resample, attention ? DhariwalUNetConfig::heads(out) : 0),
           takes_skip});
      channels = out;
    };
    if (level == config.num_levels() - 1) {
      add("in0", channels, channels, Resample::kNone, true, false);
      add("in1", channels, channels, Resample::kNone, false, false);
    } else {
      add("up", channels, channels, Resample::kUp, false, false);
    }
    for (int i = 0; i <= config.num_blocks; ++i) {
      const int in = channels + skip_channels.back();
      skip_channels.pop_back();
      add(absl::StrCat("block", i), in, config.channels(level), Resample::kNone,
          config.attends(level), true);
    }
  }
  out_norm_ = GroupNorm(source, "model.out_norm", channels, kEpsilon);
  out_conv_ = Conv(source, "model.out_conv", channels, out_channels, 3);
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
