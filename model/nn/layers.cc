#include "model/nn/layers.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "ATen/Parallel.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/conv2d.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/outer.h"
#include "ATen/ops/scaled_dot_product_attention.h"
#include "absl/strings/str_cat.h"
#include "model/nn/group_norm_kernel.h"

namespace skipstream {

Conv::Conv(LayerParameters parameters, int extra_padding)
    : weight_(std::move(parameters.weight)),
      bias_(std::move(parameters.bias)),
      padding_(extra_padding) {
  if (weight_.defined()) padding_ += static_cast<int>(weight_.size(2)) / 2;
}

Conv::Conv(ParameterSource& source, const std::string& name, int in_channels, int out_channels,
           int kernel, int extra_padding)
    : Conv(TakeConv(source, name, in_channels, out_channels, kernel), extra_padding) {}

at::Tensor Conv::operator()(const at::Tensor& x) const {
  return at::conv2d(x, weight_, bias_, /*stride=*/1, padding_);
}

void Conv::RegroupOutputs(int parts) {
  if (!weight_.defined() || !bias_.defined()) return;
  const int64_t channels = weight_.size(0) / parts;
  weight_ = weight_.unflatten(0, {channels, parts})
                .transpose(0, 1)
                .flatten(0, 1)
                .contiguous(at::MemoryFormat::ChannelsLast);
  bias_ = bias_.view({channels, parts}).t().flatten().contiguous();
}

Linear::Linear(LayerParameters parameters)
    : weight_(std::move(parameters.weight)), bias_(std::move(parameters.bias)) {}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

GroupNorm::GroupNorm(NormParameters parameters, float epsilon)
    : groups_(parameters.groups),
      epsilon_(epsilon),
      weight_(std::move(parameters.weight)),
      bias_(std::move(parameters.bias)) {}

at::Tensor GroupNorm::operator()(const at::Tensor& x) const { return Apply(x, weight_, bias_); }

at::Tensor GroupNorm::Modulated(const at::Tensor& x, const at::Tensor& scale,
                                const at::Tensor& shift) const {
  const at::Tensor factor = scale.add(1.0f);
  return Apply(x, factor.mul(weight_), factor.mul(bias_).add_(shift));
}

at::Tensor GroupNorm::Apply(const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) const {
  const at::Tensor in = x.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor out = at::empty_like(in);
  const GroupNormShape shape = {x.size(2) * x.size(3), x.size(1), groups_, epsilon_};
  const int64_t image = shape.pixels * shape.channels;
  const int64_t row = weight.dim() == 1 ? 0 : shape.channels;
  const float* from = in.const_data_ptr<float>();
  const float* weights = weight.const_data_ptr<float>();
  const float* biases = bias.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      GroupNormChannelsLast(shape, from + b * image, weights + b * row, biases + b * row,
                            to + b * image);
    }
  });
  return out;
}

Attention::Attention(LayerParameters qkv, LayerParameters proj, int heads)
    : heads_(heads), qkv_(std::move(qkv)), proj_(std::move(proj)) {
  qkv_.RegroupOutputs(3);
}

void Attention::CheckHeads(ParameterSource& source, const std::string& name, int channels,
                           int heads) {
  if (channels % heads == 0) return;
  source.Fail(absl::InvalidArgumentError(absl::StrCat(
      "config: ", name, ".qkv would split ", channels, " channels into ", heads, " heads")));
}

at::Tensor Attention::operator()(const at::Tensor& x) const {
  const int64_t batch = x.size(0);
  const int64_t channels = x.size(1);
  const int64_t pixels = x.size(2) * x.size(3);
  // [B, HW, 3, heads, C / heads]: in channels-last memory a view.
  const at::Tensor qkv =
      qkv_(x).permute({0, 2, 3, 1}).reshape({batch, pixels, 3, heads_, channels / heads_});
  const auto part = [&](int64_t i) { return qkv.select(2, i).transpose(1, 2); };
  const at::Tensor mixed = at::scaled_dot_product_attention(part(0), part(1), part(2));
  return proj_(
      mixed.transpose(1, 2).reshape({batch, x.size(2), x.size(3), channels}).permute({0, 3, 1, 2}));
}

NoiseEmbedding NoiseEmbedding::Positional(int channels, bool reaches_end, Order order) {
  NoiseEmbedding embedding;
  embedding.order_ = order;
  const int count = channels / 2;
  embedding.frequencies_ = at::empty({count}, at::kFloat);
  float* frequencies = embedding.frequencies_.mutable_data_ptr<float>();
  // Exponent and base are rounded as where the networks were trained: times a noise condition of
  // up to 1000, the rounding shows.
  const float base = static_cast<float>(1.0 / 10000.0);
  for (int i = 0; i < count; ++i) {
    const float exponent =
        static_cast<float>(i) / static_cast<float>(count - (reaches_end ? 1 : 0));
    frequencies[i] = static_cast<float>(std::pow(double{base}, double{exponent}));
  }
  return embedding;
}

NoiseEmbedding NoiseEmbedding::Fourier(ParameterSource& source, const std::string& name,
                                       int channels) {
  NoiseEmbedding embedding;
  const at::Tensor turns = source.TakeBuffer(name + ".freqs", {channels / 2});
  if (turns.defined()) {
    embedding.frequencies_ = turns.mul(static_cast<float>(2.0 * std::numbers::pi));
  }
  return embedding;
}

at::Tensor NoiseEmbedding::operator()(const at::Tensor& c_noise) const {
  const at::Tensor angles = at::outer(c_noise, frequencies_);
  return order_ == Order::kSinesFirst ? at::cat({angles.sin(), angles.cos()}, 1)
                                      : at::cat({angles.cos(), angles.sin()}, 1);
}

}  // namespace skipstream
