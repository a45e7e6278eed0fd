#include "model/nn/parameters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace skipstream {

LayerParameters TakeConv(ParameterSource& source, const std::string& name, int64_t in_channels,
                         int64_t out_channels, int64_t kernel) {
  LayerParameters layer;
  layer.weight = source.TakeKernel(name + ".weight", {out_channels, in_channels, kernel, kernel});
  layer.bias = source.Take(name + ".bias", {out_channels});
  return layer;
}

LayerParameters TakeLinear(ParameterSource& source, const std::string& name, int64_t in_features,
                           int64_t out_features, Bias bias) {
  LayerParameters layer;
  layer.weight = source.Take(name + ".weight", {out_features, in_features});
  if (bias == Bias::kStored) layer.bias = source.Take(name + ".bias", {out_features});
  return layer;
}

NormParameters TakeNorm(ParameterSource& source, const std::string& name, int channels) {
  NormParameters norm;
  norm.groups = std::min(32, channels / 4);
  if (channels % norm.groups != 0) {
    source.Fail(absl::InvalidArgumentError(absl::StrCat(
        "config: ", name, " would split ", channels, " channels into ", norm.groups, " groups")));
  }
  norm.weight = source.Take(name + ".weight", {channels});
  norm.bias = source.Take(name + ".bias", {channels});
  return norm;
}

}  // namespace skipstream
