#include "model/families/edm_unet/unet_config.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/strict_json.h"

namespace skipstream {
namespace {

constexpr int kMaxResolution = 1024;
// Attention is quadratic in the number of pixels; above this one evaluation would hold up a device.
constexpr int kMaxAttentionResolution = 128;
constexpr int kMaxChannels = 1 << 16;

}  // namespace

bool UNetConfig::attends(int level) const {
  return std::find(attn_resolutions.begin(), attn_resolutions.end(), resolution(level)) !=
         attn_resolutions.end();
}

void ReadUNetConfig(FieldReader& fields, UNetConfig& config) {
  fields.Require("img_resolution");
  fields.Require("img_channels");
  fields.Integer("img_resolution", 1, kMaxResolution, &config.img_resolution);
  fields.Integer("img_channels", 1, 16, &config.img_channels);
  fields.Integer("label_dim", 0, 1 << 20, &config.label_dim);
  fields.Number("label_dropout", 0.0, 1.0, &config.label_dropout);
  fields.Integer("augment_dim", 0, 1 << 16, &config.augment_dim);
  fields.Integer("model_channels", 4, kMaxChannels, &config.model_channels);
  fields.Integers("channel_mult", 1, 64, 12, &config.channel_mult);
  fields.Integer("channel_mult_emb", 1, 64, &config.channel_mult_emb);
  fields.Integer("num_blocks", 1, 64, &config.num_blocks);
  fields.Integers("attn_resolutions", 1, kMaxAttentionResolution, 16, &config.attn_resolutions);
  double dropout = 0.0;  // only of training
  fields.Number("dropout", 0.0, 1.0, &dropout);
  bool use_fp16 = false;  // a hint for speed: the parameters are float32, and so is the arithmetic
  fields.Boolean("use_fp16", &use_fp16);

  if (config.channel_mult.empty()) return fields.Fail("channel_mult", "must not be empty");
  if (config.model_channels % 2 != 0) fields.Fail("model_channels", "must be even");
  const int mult = *std::max_element(config.channel_mult.begin(), config.channel_mult.end());
  if (int64_t{config.model_channels} * std::max(mult, config.channel_mult_emb) > kMaxChannels) {
    fields.Fail("model_channels",
                absl::StrCat("times the largest multiplier must be at most ", kMaxChannels));
  }
  if (config.img_resolution % (1 << (config.num_levels() - 1)) != 0) {
    fields.Fail("img_resolution",
                absl::StrCat("must be divisible by 2 once per level after the first of ",
                             config.num_levels()));
  }
  // The innermost level always attends.
  if (config.resolution(config.num_levels() - 1) > kMaxAttentionResolution) {
    fields.Fail("channel_mult", absl::StrCat("must have enough levels to reach resolution ",
                                             kMaxAttentionResolution, " or less"));
  }
}

}  // namespace skipstream
