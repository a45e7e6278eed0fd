#include "model/network/layers.h"

#include <algorithm>
#include <cmath>

#include "ATen/Parallel.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/conv2d.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/outer.h"
#include "ATen/ops/scaled_dot_product_attention.h"
#include "absl/strings/str_cat.h"
#include "model/network/group_norm_kernel.h"

namespace skipstream {
namespace {

constexpr float kEpsilon = 1e-6f;

int GroupsOf(ParameterReader& reader, const std::string& name, int channels) {
  const int groups = std::min(32, channels / 4);
  if (channels % groups != 0) {
    reader.Fail(absl::InvalidArgumentError(absl::StrCat("config: ", name, " would split ", channels,
                                                        " channels into ", groups, " groups")));
  }
  return groups;
}

}  // namespace

Conv::Conv(ParameterReader& reader, const std::string& name, int in_channels, int out_channels,
           int kernel)
    : weight_(reader.Take(name + ".weight", {out_channels, in_channels, kernel, kernel})),
      bias_(reader.Take(name + ".bias", {out_channels})),
      kernel_(kernel) {
  if (weight_.defined()) weight_ = weight_.contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor Conv::operator()(const at::Tensor& x) const {
  return at::conv2d(x, weight_, bias_, /*stride=*/1, /*padding=*/kernel_ / 2);
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

Linear::Linear(ParameterReader& reader, const std::string& name, int in_features, int out_features)
    : weight_(reader.Take(name + ".weight", {out_features, in_features})),
      bias_(reader.Take(name + ".bias", {out_features})) {}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

GroupNorm::GroupNorm(ParameterReader& reader, const std::string& name, int channels)
    : groups_(GroupsOf(reader, name, channels)),
      weight_(reader.Take(name + ".weight", {channels})),
      bias_(reader.Take(name + ".bias", {channels})) {}

at::Tensor GroupNorm::operator()(const at::Tensor& x) const {
  const at::Tensor in = x.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor out = at::empty_like(in);
  const GroupNormShape shape = {x.size(2) * x.size(3), x.size(1), groups_, kEpsilon};
  const int64_t image = shape.pixels * shape.channels;
  const float* from = in.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      GroupNormChannelsLast(shape, from + b * image, weight_.const_data_ptr<float>(),
                            bias_.const_data_ptr<float>(), to + b * image);
    }
  });
  return out;
}

Attention::Attention(ParameterReader& reader, const std::string& name, int channels)
    : qkv_(reader, name + ".qkv", channels, 3 * channels, 1),
      proj_(reader, name + ".proj", channels, channels, 1) {
  qkv_.RegroupOutputs(3);
}

at::Tensor Attention::operator()(const at::Tensor& x) const {
  const int64_t batch = x.size(0);
  const int64_t channels = x.size(1);
  const int64_t pixels = x.size(2) * x.size(3);
  // [B, 1, HW, 3C]: in channels-last memory a view.
  const at::Tensor qkv = qkv_(x).permute({0, 2, 3, 1}).reshape({batch, 1, pixels, 3 * channels});
  const at::Tensor mixed = at::scaled_dot_product_attention(qkv.narrow(3, 0, channels),
                                                            qkv.narrow(3, channels, channels),
                                                            qkv.narrow(3, 2 * channels, channels));
  return proj_(mixed.reshape({batch, x.size(2), x.size(3), channels}).permute({0, 3, 1, 2}));
}

PositionalEmbedding::PositionalEmbedding(int channels)
    : frequencies_(at::empty({channels / 2}, at::kFloat)) {
  const int count = channels / 2;
  for (int i = 0; i < count; ++i) {
    frequencies_.mutable_data_ptr<float>()[i] =
        static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / (count - 1)));
  }
}

at::Tensor PositionalEmbedding::operator()(const at::Tensor& c_noise) const {
  const at::Tensor angles = at::outer(c_noise, frequencies_);
  return at::cat({angles.sin(), angles.cos()}, 1);
}

}  // namespace skipstream
