#include "model/families/edm_unet/unet_parameters.h"

#include <cmath>
#include <string>

#include "ATen/ops/linear.h"
#include "ATen/ops/silu.h"

namespace skipstream {
namespace {

// Takes the layers that both families have.
void TakeLayers(ParameterSource& source, const UNetConfig& config, int emb_channels,
                EmbeddingParameters& parameters) {
  const int noise = parameters.noise_channels;
  // Training fed augmentation labels through this layer; here they are always zero.
  if (config.augment_dim > 0) source.Take("model.map_augment.weight", {noise, config.augment_dim});
  parameters.layer0 = TakeLinear(source, "model.map_layer0", noise, emb_channels);
  parameters.layer1 = TakeLinear(source, "model.map_layer1", emb_channels, emb_channels);
}

}  // namespace

BlockParameters TakeBlock(ParameterSource& source, const UNetBlockStyle& style,
                          const UNetBlockSpec& spec) {
  const std::string& name = spec.name;
  const int in = spec.in_channels;
  const int out = spec.out_channels;
  BlockParameters block;
  block.norm0 = TakeNorm(source, name + ".norm0", in);
  block.resampler = Resampler(source, name + ".conv0", spec.resample, style.resample_filter);
  block.conv0 = TakeConv(source, name + ".conv0", in, out, 3);
  block.affine = TakeLinear(source, name + ".affine", style.emb_channels,
                            style.adaptive_scale ? 2 * out : out);
  block.norm1 = TakeNorm(source, name + ".norm1", out);
  block.conv1 = TakeConv(source, name + ".conv1", out, out, 3);
  if (HasProjectedShortcut(style, spec)) {
    block.shortcut = TakeConv(source, name + ".skip", in, out, 1);
  } else if (spec.skip_channels > 0) {
    source.Fail(absl::InternalError(name + ": a block that joins a skip projects its shortcut"));
  }
  // The shortcut resamples as the first convolution does; its filter may be stored too.
  if (spec.resample != Resample::kNone) {
    Resampler(source, name + ".skip", spec.resample, style.resample_filter);
  }
  if (spec.heads > 0) {
    Attention::CheckHeads(source, name, out, spec.heads);
    block.norm2 = TakeNorm(source, name + ".norm2", out);
    block.qkv = TakeConv(source, name + ".qkv", out, 3 * out, 1);
    block.proj = TakeConv(source, name + ".proj", out, out, 1);
  }
  return block;
}

EmbeddingParameters TakeEmbedding(ParameterSource& source, const SongUNetConfig& config) {
  EmbeddingParameters parameters;
  const int noise = parameters.noise_channels = config.noise_channels();
  parameters.map_noise = config.embedding_type == SongUNetConfig::Embedding::kFourier
                             ? NoiseEmbedding::Fourier(source, "model.map_noise", noise)
                             : NoiseEmbedding::Positional(noise, /*reaches_end=*/true,
                                                          NoiseEmbedding::Order::kSinesFirst);
  parameters.label_first = true;
  if (config.label_dim > 0) {
    parameters.map_label = TakeLinear(source, "model.map_label", config.label_dim, noise);
    parameters.label_factor = std::sqrt(static_cast<float>(config.label_dim));
  }
  TakeLayers(source, config, config.emb_channels(), parameters);
  return parameters;
}

EmbeddingParameters TakeEmbedding(ParameterSource& source, const DhariwalUNetConfig& config) {
  EmbeddingParameters parameters;
  parameters.noise_channels = config.model_channels;
  parameters.map_noise = NoiseEmbedding::Positional(config.model_channels, /*reaches_end=*/false,
                                                    NoiseEmbedding::Order::kCosinesFirst);
  if (config.label_dim > 0) {
    parameters.map_label =
        TakeLinear(source, "model.map_label", config.label_dim, config.emb_channels(), Bias::kNone);
  }
  TakeLayers(source, config, config.emb_channels(), parameters);
  return parameters;
}

Embedding::Embedding(const EmbeddingParameters& parameters) : parameters_(parameters) {}

void Embedding::AddLabel(const at::Tensor& labels, at::Tensor& to) const {
  const LayerParameters& layer = parameters_.map_label;
  if (!layer.defined()) return;
  const float factor = parameters_.label_factor;
  to.add_(at::linear(factor == 1.0f ? labels : labels.mul(factor), layer.weight, layer.bias));
}

at::Tensor Embedding::operator()(const at::Tensor& c_noise, const at::Tensor& labels) const {
  const auto apply = [](const LayerParameters& layer, const at::Tensor& x) {
    return at::linear(x, layer.weight, layer.bias);
  };
  at::Tensor emb = parameters_.map_noise(c_noise);
  if (parameters_.label_first) AddLabel(labels, emb);
  emb = apply(parameters_.layer0, emb);
  emb = apply(parameters_.layer1, at::silu_(emb));
  if (!parameters_.label_first) AddLabel(labels, emb);
  return at::silu_(emb);
}

}  // namespace skipstream
