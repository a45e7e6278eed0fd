#ifndef SKIPSTREAM_MODEL_NN_PARAMETERS_H_
#define SKIPSTREAM_MODEL_NN_PARAMETERS_H_

#include <cstdint>
#include <string>

#include "ATen/core/Tensor.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// Holds what a convolution or a fully connected layer takes from a file. Tensors are undefined
// where the source has no values; a bias also where the layer has none.
struct LayerParameters {
  at::Tensor weight;  // [out, in, k, k] in channels-last memory, or [out, in]
  at::Tensor bias;    // [out]

  bool defined() const { return weight.defined(); }
};

// Holds what a group norm takes from a file.
struct NormParameters {
  int groups = 1;
  at::Tensor weight;  // [channels]
  at::Tensor bias;
};

enum class Bias { kNone, kStored };

// Takes `<name>.weight` and `<name>.bias` of a convolution.
LayerParameters TakeConv(ParameterSource& source, const std::string& name, int64_t in_channels,
                         int64_t out_channels, int64_t kernel);

// Takes `<name>.weight` and, if it is stored, `<name>.bias` of a fully connected layer.
LayerParameters TakeLinear(ParameterSource& source, const std::string& name, int64_t in_features,
                           int64_t out_features, Bias bias = Bias::kStored);

// Takes `<name>.weight` and `<name>.bias` of a norm over groups of at least 4 channels, at most 32
// groups. Fails if the channels cannot be split that way.
NormParameters TakeNorm(ParameterSource& source, const std::string& name, int channels);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_PARAMETERS_H_
