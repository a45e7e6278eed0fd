#include "model/families/edm_unet/unet_topology.h"

#include <cmath>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "model/families/edm_unet/dhariwal_unet_config.h"
#include "model/families/edm_unet/song_unet_config.h"

namespace skipstream {
namespace {

// Holds the properties in which the families differ.
struct Family {
  UNetBlockStyle style;
  int in_conv_channels;
  // Returns the heads of an attention over `channels` channels.
  absl::FunctionRef<int(int channels)> heads;
  // At the levels with attention, every block of the decoder attends, or only the level's last.
  bool every_decoder_block_attends;
};

UNetTopology Build(const UNetConfig& config, Family family) {
  UNetTopology topology;
  topology.style = std::move(family.style);
  topology.resolution = config.img_resolution;
  topology.in_conv = UNetLayerName("enc", config.img_resolution, "conv");
  topology.in_conv_channels = family.in_conv_channels;

  int channels = family.in_conv_channels;
  std::vector<int> skips = {channels};
  for (int level = 0; level < config.num_levels(); ++level) {
    const auto add = [&](const std::string& layer, int out, Resample resample, int heads) {
      topology.encoder.push_back({UNetLayerName("enc", config.resolution(level), layer), level,
                                  channels, 0, out, resample, heads});
      channels = out;
      skips.push_back(channels);
    };
    if (level > 0) add("down", channels, Resample::kDown, 0);
    const int out = config.channels(level);
    for (int i = 0; i < config.num_blocks; ++i) {
      add(absl::StrCat("block", i), out, Resample::kNone,
          config.attends(level) ? family.heads(out) : 0);
    }
  }

  for (int level = config.num_levels() - 1; level >= 0; --level) {
    const auto add = [&](const std::string& layer, int skip, int out, Resample resample,
                         int heads) {
      topology.decoder.push_back({UNetLayerName("dec", config.resolution(level), layer), level,
                                  channels + skip, skip, out, resample, heads});
      channels = out;
    };
    if (level == config.num_levels() - 1) {
      add("in0", 0, channels, Resample::kNone, family.heads(channels));
      add("in1", 0, channels, Resample::kNone, 0);
    } else {
      add("up", 0, channels, Resample::kUp, 0);
    }
    const int out = config.channels(level);
    for (int i = 0; i <= config.num_blocks; ++i) {
      const bool attends =
          config.attends(level) && (family.every_decoder_block_attends || i == config.num_blocks);
      add(absl::StrCat("block", i), skips.back(), out, Resample::kNone,
          attends ? family.heads(out) : 0);
      skips.pop_back();
    }
  }
  return topology;
}

}  // namespace

bool HasProjectedShortcut(const UNetBlockStyle& style, const UNetBlockSpec& spec) {
  return spec.in_channels != spec.out_channels ||
         (spec.resample != Resample::kNone && style.projects_resampled_shortcut);
}

UNetTopology TopologyOf(const SongUNetConfig& config) {
  UNetTopology topology = Build(config, {.style = {.emb_channels = config.emb_channels(),
                                                   .adaptive_scale = false,
                                                   .projects_resampled_shortcut = true,
                                                   .skip_scale = std::sqrt(0.5f),
                                                   .epsilon = 1e-6f,
                                                   .resample_filter = config.resample_filter},
                                         .in_conv_channels = config.model_channels,
                                         .heads = [](int) { return 1; },
                                         .every_decoder_block_attends = false});
  topology.out_norm = UNetLayerName("dec", config.img_resolution, "aux_norm");
  topology.out_conv = UNetLayerName("dec", config.img_resolution, "aux_conv");
  return topology;
}

UNetTopology TopologyOf(const DhariwalUNetConfig& config) {
  UNetTopology topology = Build(config, {.style = {.emb_channels = config.emb_channels(),
                                                   .adaptive_scale = true,
                                                   .projects_resampled_shortcut = false,
                                                   .skip_scale = 1.0f,
                                                   .epsilon = 1e-5f,
                                                   .resample_filter = {1.0, 1.0}},
                                         .in_conv_channels = config.channels(0),
                                         .heads = DhariwalUNetConfig::heads,
                                         .every_decoder_block_attends = true});
  topology.out_norm = "model.out_norm";
  topology.out_conv = "model.out_conv";
  return topology;
}

absl::Status CheckPlain(const SongUNetConfig& config) {
  if (config.encoder_type != SongUNetConfig::Encoder::kStandard ||
      config.decoder_type != SongUNetConfig::Decoder::kStandard) {
    return absl::UnimplementedError(
        "networks whose encoder_type or decoder_type is not standard have no fused form");
  }
  const std::vector<double>& taps = config.resample_filter;
  if (taps.size() != 2 || taps[0] != taps[1]) {
    return absl::UnimplementedError(
        "networks whose resample_filter is not [1, 1] have no fused form");
  }
  return absl::OkStatus();
}

absl::Status CheckPlain(const DhariwalUNetConfig& /*config*/) { return absl::OkStatus(); }

std::string UNetLayerName(const char* half, int resolution, const std::string& layer) {
  return absl::StrCat("model.", half, ".", resolution, "x", resolution, "_", layer);
}

}  // namespace skipstream
