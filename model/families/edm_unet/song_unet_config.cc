#include "model/families/edm_unet/song_unet_config.h"

#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/strict_json.h"

namespace skipstream {
namespace {

constexpr size_t kMaxFilterLength = 16;
constexpr double kMinFilterSum = 0.01;  // the filter is divided by it, twice

template <typename Enum>
using Choice = std::pair<const char*, Enum>;

template <typename Enum, size_t kCount>
void ReadChoice(FieldReader& fields, const std::string& key,
                const std::array<Choice<Enum>, kCount>& choices, Enum* value) {
  if (!fields.Has(key)) return;
  std::string text;
  fields.String(key, &text);
  for (const auto& [name, choice] : choices) {
    if (text == name) {
      *value = choice;
      return;
    }
  }
  fields.Fail(key, absl::StrCat("must be ",
                                absl::StrJoin(choices, " or ", [](std::string* out, const auto& c) {
                                  absl::StrAppend(out, "'", c.first, "'");
                                })));
}

}  // namespace

SongUNetConfig ReadSongUNetConfig(FieldReader& fields) {
  using Config = SongUNetConfig;
  Config config;
  ReadUNetConfig(fields, config);
  ReadChoice(fields, "embedding_type",
             std::array{Choice<Config::Embedding>{"positional", Config::Embedding::kPositional},
                        Choice<Config::Embedding>{"fourier", Config::Embedding::kFourier}},
             &config.embedding_type);
  ReadChoice(fields, "encoder_type",
             std::array{Choice<Config::Encoder>{"standard", Config::Encoder::kStandard},
                        Choice<Config::Encoder>{"skip", Config::Encoder::kSkip},
                        Choice<Config::Encoder>{"residual", Config::Encoder::kResidual}},
             &config.encoder_type);
  ReadChoice(fields, "decoder_type",
             std::array{Choice<Config::Decoder>{"standard", Config::Decoder::kStandard},
                        Choice<Config::Decoder>{"skip", Config::Decoder::kSkip}},
             &config.decoder_type);
  fields.Integer("channel_mult_noise", 1, 64, &config.channel_mult_noise);
  fields.Numbers("resample_filter", -64.0, 64.0, kMaxFilterLength, &config.resample_filter);
  const std::vector<double>& filter = config.resample_filter;
  if (filter.empty() || filter.size() % 2 != 0) {
    fields.Fail("resample_filter", "must have an even number of entries");
  }
  if (!(std::accumulate(filter.begin(), filter.end(), 0.0) >= kMinFilterSum)) {
    fields.Fail("resample_filter", absl::StrCat("must sum to at least ", kMinFilterSum));
  }
  return config;
}

}  // namespace skipstream
