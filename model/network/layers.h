// The layers a SongUNet is made of: parameters read by name, applied to float32 tensors [B, C, H,
// W] in channels-last memory.
#ifndef SKIPSTREAM_MODEL_NETWORK_LAYERS_H_
#define SKIPSTREAM_MODEL_NETWORK_LAYERS_H_

#include <cstdint>
#include <string>

#include "ATen/core/Tensor.h"
#include "model/network/parameter_reader.h"

namespace skipstream {

// 3x3 with padding 1, or 1x1; stride 1.
class Conv {
 public:
  Conv() = default;
  Conv(ParameterReader& reader, const std::string& name, int in_channels, int out_channels,
       int kernel);
  at::Tensor operator()(const at::Tensor& x) const;

  // Output channels stored interleaved, (c, part), become grouped, (part, c).
  void RegroupOutputs(int parts);

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  int kernel_ = 1;
};

// [B, in] -> [B, out].
class Linear {
 public:
  Linear() = default;
  Linear(ParameterReader& reader, const std::string& name, int in_features, int out_features);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

// Groups of at least 4 channels, at most 32 groups; epsilon 1e-6.
class GroupNorm {
 public:
  GroupNorm() = default;
  GroupNorm(ParameterReader& reader, const std::string& name, int channels);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  int groups_ = 1;  // checked before anything is read
  at::Tensor weight_;
  at::Tensor bias_;
};

// Single-head self-attention over the pixels, without the norm before it and the sum after it:
// parameters `<name>.qkv` and `<name>.proj`.
class Attention {
 public:
  Attention() = default;
  Attention(ParameterReader& reader, const std::string& name, int channels);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  Conv qkv_;
  Conv proj_;
};

// Sinusoidal embedding of a noise condition [B] as [B, channels] (sines first, then cosines).
// Frequencies 10000^(-i / (channels/2 - 1)).
class PositionalEmbedding {
 public:
  PositionalEmbedding() = default;
  explicit PositionalEmbedding(int channels);
  at::Tensor operator()(const at::Tensor& c_noise) const;

 private:
  at::Tensor frequencies_;  // [channels / 2]
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_LAYERS_H_
