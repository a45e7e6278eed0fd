// Implements the layers of a UNet. They take parameters by name and apply to float32 tensors [B, C,
// H, W] in channels-last memory.
#ifndef SKIPSTREAM_MODEL_NN_LAYERS_H_
#define SKIPSTREAM_MODEL_NN_LAYERS_H_

#include <cstdint>
#include <string>

#include "ATen/core/Tensor.h"
#include "model/nn/parameter_source.h"
#include "model/nn/parameters.h"

namespace skipstream {

// Convolves 3x3 or 1x1 with stride 1; zeros around keep the size, or add `extra_padding` rows on
// every side.
class Conv {
 public:
  Conv() = default;
  explicit Conv(LayerParameters parameters, int extra_padding = 0);
  Conv(ParameterSource& source, const std::string& name, int in_channels, int out_channels,
       int kernel, int extra_padding = 0);
  at::Tensor operator()(const at::Tensor& x) const;

  // Reorders output channels stored interleaved, (c, part), to grouped, (part, c).
  void RegroupOutputs(int parts);

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  int padding_ = 0;
};

// Maps [B, in] to [B, out].
class Linear {
 public:
  Linear() = default;
  explicit Linear(LayerParameters parameters);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;  // undefined: none
};

// Normalizes groups of channels (TakeNorm()).
class GroupNorm {
 public:
  GroupNorm() = default;
  GroupNorm(NormParameters parameters, float epsilon);
  at::Tensor operator()(const at::Tensor& x) const;
  // Returns the norm of row b, times scale[b] + 1, plus shift[b]; both [B, C].
  at::Tensor Modulated(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift) const;

 private:
  // Applies `weight` and `bias`, which are contiguous, [C] or one such row per row of x.
  at::Tensor Apply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;

  int groups_ = 1;  // checked before anything is read
  float epsilon_ = 0.0f;
  at::Tensor weight_;
  at::Tensor bias_;
};

// Computes self-attention over the pixels, without the norm before it and the sum after it. The
// outputs of `qkv` are stored as (head, channel, part).
class Attention {
 public:
  Attention() = default;
  Attention(LayerParameters qkv, LayerParameters proj, int heads);
  // Fails if the heads of the attention `name` do not get the same number of channels.
  static void CheckHeads(ParameterSource& source, const std::string& name, int channels, int heads);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  int heads_ = 1;
  Conv qkv_;
  Conv proj_;
};

// Embeds a noise condition [B] as sinusoids [B, channels].
class NoiseEmbedding {
 public:
  enum class Order { kSinesFirst, kCosinesFirst };

  NoiseEmbedding() = default;
  // Uses angular frequencies 10000^(-i / last), i = 0 .. channels/2 - 1. With `reaches_end` last is
  // channels/2 - 1, so that the last frequency is 1/10000; else channels/2.
  static NoiseEmbedding Positional(int channels, bool reaches_end, Order order);
  // Uses Fourier features (arXiv 2006.10739): random frequencies, stored in turns as
  // `<name>.freqs`.
  static NoiseEmbedding Fourier(ParameterSource& source, const std::string& name, int channels);

  at::Tensor operator()(const at::Tensor& c_noise) const;

  Order order() const { return order_; }
  const at::Tensor& frequencies() const { return frequencies_; }

 private:
  Order order_ = Order::kSinesFirst;
  at::Tensor frequencies_;  // [channels / 2], angular
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_LAYERS_H_
