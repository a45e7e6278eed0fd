#include "model/network/song_unet.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/ops/avg_pool2d.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/upsample_nearest2d.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

using Resample = UNetBlock::Resample;

// Keeps the variance of a sum of two branches.
const float kSkipScale = std::sqrt(0.5f);

}  // namespace

UNetBlock::UNetBlock(ParameterReader& reader, const std::string& name, int in_channels,
                     int out_channels, int emb_channels, Resample resample, bool attention)
    : resample_(resample),
      norm0_(reader, name + ".norm0", in_channels),
      conv0_(reader, name + ".conv0", in_channels, out_channels, 3),
      affine_(reader, name + ".affine", emb_channels, out_channels),
      norm1_(reader, name + ".norm1", out_channels),
      conv1_(reader, name + ".conv1", out_channels, out_channels, 3) {
  if (in_channels != out_channels || resample != Resample::kNone) {
    shortcut_.emplace(reader, name + ".skip", in_channels, out_channels, 1);
  }
  if (resample != Resample::kNone) {
    // Some writers store the constant box filter of the resampling.
    for (const char* layer : {".conv0", ".skip"}) {
      reader.CheckConstant(absl::StrCat(name, layer, ".resample_filter"), {1, 1, 2, 2}, 0.25f);
    }
  }
  if (attention) {
    norm2_.emplace(reader, name + ".norm2", out_channels);
    attention_.emplace(reader, name, out_channels);
  }
}

at::Tensor UNetBlock::Resampled(const at::Tensor& x) const {
  switch (resample_) {
    case Resample::kUp:
      return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
    case Resample::kDown:
      return at::avg_pool2d(x, 2);
    case Resample::kNone:
      break;
  }
  return x;
}

at::Tensor UNetBlock::operator()(const at::Tensor& x, const at::Tensor& emb) const {
  at::Tensor h = norm0_(x);
  h = conv0_(Resampled(at::silu_(h)));
  h.add_(affine_(emb).unsqueeze(2).unsqueeze(3));
  h = norm1_(h);
  h = conv1_(at::silu_(h));
  h.add_(shortcut_ ? (*shortcut_)(Resampled(x)) : x).mul_(kSkipScale);
  if (attention_) h = (*attention_)((*norm2_)(h)).add_(h).mul_(kSkipScale);
  return h;
}

SongUNet::SongUNet(const SongUNetConfig& config, ParameterReader& reader)
    : config_(config), map_noise_(config.model_channels) {
  const int width = config.model_channels;
  const int emb = config.emb_channels();
  const auto attends = [&](int resolution) {
    return std::find(config.attn_resolutions.begin(), config.attn_resolutions.end(), resolution) !=
           config.attn_resolutions.end();
  };
  const auto name = [](const char* half, int resolution, const std::string& layer) {
    return absl::StrCat("model.", half, ".", resolution, "x", resolution, "_", layer);
  };

  if (config.label_dim > 0) map_label_.emplace(reader, "model.map_label", config.label_dim, width);
  // Training fed augmentation labels through this layer; here they are always zero.
  if (config.augment_dim > 0) reader.Take("model.map_augment.weight", {width, config.augment_dim});
  map_layer0_ = Linear(reader, "model.map_layer0", width, emb);
  map_layer1_ = Linear(reader, "model.map_layer1", emb, emb);

  std::vector<int> skip_channels;
  int channels = width;
  for (int level = 0; level < config.num_levels(); ++level) {
    const int resolution = config.img_resolution >> level;
    if (level == 0) {
      enc_conv_ = Conv(reader, name("enc", resolution, "conv"), config.img_channels, channels, 3);
    } else {
      encoder_.emplace_back(reader, name("enc", resolution, "down"), channels, channels, emb,
                            Resample::kDown, false);
    }
    skip_channels.push_back(channels);
    for (int i = 0; i < config.num_blocks; ++i) {
      const int out = width * config.channel_mult[level];
      encoder_.emplace_back(reader, name("enc", resolution, absl::StrCat("block", i)), channels,
                            out, emb, Resample::kNone, attends(resolution));
      channels = out;
      skip_channels.push_back(channels);
    }
  }

  for (int level = config.num_levels() - 1; level >= 0; --level) {
    const int resolution = config.img_resolution >> level;
    const auto add = [&](const std::string& layer, int in, int out, Resample resample,
                         bool attention, bool takes_skip) {
      decoder_.push_back(
          {UNetBlock(reader, name("dec", resolution, layer), in, out, emb, resample, attention),
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
      add(absl::StrCat("block", i), in, width * config.channel_mult[level], Resample::kNone,
          i == config.num_blocks && attends(resolution), true);
    }
  }
  aux_norm_ = GroupNorm(reader, name("dec", config.img_resolution, "aux_norm"), channels);
  aux_conv_ = Conv(reader, name("dec", config.img_resolution, "aux_conv"), channels,
                   config.img_channels, 3);
}

at::Tensor SongUNet::Forward(const at::Tensor& x, const at::Tensor& c_noise,
                             const at::Tensor& labels, const at::Tensor& rho) const {
  at::Tensor emb = map_noise_(c_noise);
  if (map_label_)
    emb.add_((*map_label_)(labels.mul(std::sqrt(static_cast<float>(config_.label_dim)))));
  emb = map_layer0_(emb);
  emb = map_layer1_(at::silu_(emb));
  at::silu_(emb);

  std::vector<at::Tensor> skips = {enc_conv_(x)};
  for (const UNetBlock& block : encoder_) skips.push_back(block(skips.back(), emb));
  at::Tensor h = skips.back();
  int consumed = 0;
  for (const auto& [block, takes_skip] : decoder_) {
    if (takes_skip) {
      const at::Tensor scale = rho.select(1, consumed++).view({-1, 1, 1, 1});
      h = at::cat({h, skips.back().mul(scale)}, 1);
      skips.pop_back();
    }
    h = block(h, emb);
  }
  h = aux_norm_(h);
  return aux_conv_(at::silu_(h));
}

}  // namespace skipstream
