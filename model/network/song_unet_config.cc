#include "model/network/song_unet_config.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "model/network/quoted_name.h"
#include "model/network/strict_json.h"

namespace skipstream {
namespace {

constexpr int kMaxResolution = 1024;
// Attention is quadratic in the number of pixels; above this one evaluation would hold up a device.
constexpr int kMaxAttentionResolution = 128;
constexpr int kMaxChannels = 1 << 16;

void Unsupported(FieldReader& fields, const std::string& key, const std::string& value,
                 const std::string& supported) {
  fields.Fail(absl::UnimplementedError(
      absl::StrCat("config: '", key, "' ", value, " is not supported; only ", supported, " is")));
}

// A key that selects a variant of the network of which one is built.
void ExpectString(FieldReader& fields, const std::string& key, const std::string& supported) {
  std::string value = supported;
  fields.String(key, &value);
  if (value != supported) Unsupported(fields, key, QuotedName(value), QuotedName(supported));
}

void ExpectDdpmpp(FieldReader& fields) {
  ExpectString(fields, "model_type", "SongUNet");
  ExpectString(fields, "embedding_type", "positional");
  ExpectString(fields, "encoder_type", "standard");
  ExpectString(fields, "decoder_type", "standard");
  int channel_mult_noise = 1;
  fields.Integer("channel_mult_noise", 1, 64, &channel_mult_noise);
  if (channel_mult_noise != 1) {
    Unsupported(fields, "channel_mult_noise", absl::StrCat(channel_mult_noise), "1");
  }
  std::vector<int> resample_filter = {1, 1};
  fields.Integers("resample_filter", 1, 64, 8, &resample_filter);
  if (resample_filter != std::vector<int>{1, 1}) {
    Unsupported(fields, "resample_filter", "other than a box", "[1, 1]");
  }
  bool use_fp16 = false;
  fields.Boolean("use_fp16", &use_fp16);
  if (use_fp16) Unsupported(fields, "use_fp16", "true", "false");
}

}  // namespace

SongUNetConfig ReadSongUNetConfig(FieldReader& fields) {
  SongUNetConfig config;
  ExpectDdpmpp(fields);
  fields.Require("img_resolution");
  fields.Require("img_channels");
  fields.Integer("img_resolution", 1, kMaxResolution, &config.img_resolution);
  fields.Integer("img_channels", 1, 16, &config.img_channels);
  fields.Integer("label_dim", 0, 1 << 20, &config.label_dim);
  fields.Integer("augment_dim", 0, 1 << 16, &config.augment_dim);
  fields.Integer("model_channels", 4, kMaxChannels, &config.model_channels);
  fields.Integers("channel_mult", 1, 64, 12, &config.channel_mult);
  fields.Integer("channel_mult_emb", 1, 64, &config.channel_mult_emb);
  fields.Integer("num_blocks", 1, 64, &config.num_blocks);
  fields.Integers("attn_resolutions", 1, kMaxAttentionResolution, 16, &config.attn_resolutions);
  double only_for_training = 0.0;
  fields.Number("dropout", 0.0, 1.0, &only_for_training);
  fields.Number("label_dropout", 0.0, 1.0, &only_for_training);

  if (config.channel_mult.empty()) {
    fields.Fail("channel_mult", "must not be empty");
    return config;
  }
  if (config.model_channels % 4 != 0) fields.Fail("model_channels", "must be a multiple of 4");
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
  const int innermost = config.img_resolution >> (config.num_levels() - 1);
  if (innermost > kMaxAttentionResolution) {
    fields.Fail("channel_mult", absl::StrCat("must have enough levels to reach resolution ",
                                             kMaxAttentionResolution, " or less"));
  }
  return config;
}

}  // namespace skipstream
