#include "model/backends/cpu/fused_conditioning.h"

#include <cmath>

#include "ATen/core/Tensor.h"
#include "model/backends/cpu/kernels.h"

namespace skipstream {

FusedConditioning::FusedConditioning(const SongUNetConfig& config, ParameterSource& source)
    : label_first_(true),
      noise_(config.noise_channels()),
      emb_(config.emb_channels()),
      map_noise_(config.embedding_type == SongUNetConfig::Embedding::kFourier
                     ? NoiseEmbedding::Fourier(source, "model.map_noise", config.noise_channels())
                     : NoiseEmbedding::Positional(config.noise_channels(), /*reaches_end=*/true,
                                                  NoiseEmbedding::Order::kSinesFirst)) {
  if (config.label_dim > 0) {
    map_label_.emplace(source, "model.map_label", config.label_dim, noise_, Linear::Bias::kStored,
                       std::sqrt(static_cast<float>(config.label_dim)));
  }
  TakeLayers(config.augment_dim, source);
}

FusedConditioning::FusedConditioning(const DhariwalUNetConfig& config, ParameterSource& source)
    : noise_(config.model_channels),
      emb_(config.emb_channels()),
      map_noise_(NoiseEmbedding::Positional(config.model_channels, /*reaches_end=*/false,
                                            NoiseEmbedding::Order::kCosinesFirst)) {
  if (config.label_dim > 0) {
    map_label_.emplace(source, "model.map_label", config.label_dim, emb_, Linear::Bias::kNone);
  }
  TakeLayers(config.augment_dim, source);
}

void FusedConditioning::TakeLayers(int augment_dim, ParameterSource& source) {
  // Training fed augmentation labels through this layer; here they are always zero.
  if (augment_dim > 0) source.Take("model.map_augment.weight", {noise_, augment_dim});
  layer0_ = FusedLinear(source, "model.map_layer0", noise_, emb_);
  layer1_ = FusedLinear(source, "model.map_layer1", emb_, emb_);
}

void FusedConditioning::AddBlock(ParameterSource& source, const std::string& name, int64_t outputs,
                                 const cpu::AlignedBuffer<float>* bias) {
  FusedLinear& layer = blocks_.emplace_back(source, name, emb_, outputs);
  if (bias != nullptr && bias->size() == layer.bias().size()) {
    for (int64_t i = 0; i < bias->size(); ++i) layer.bias().data()[i] += bias->data()[i];
  }
  first_.push_back(outputs_);
  outputs_ += outputs;
}

void FusedConditioning::Apply(const float* c_noise, const float* labels, int64_t rows,
                              float* scratch, float* result, const cpu::Team& team) const {
  float* const noise = scratch;
  float* const first = noise + rows * noise_;
  float* const second = first + rows * emb_;
  const auto apply = [&](const FusedLinear& layer, const float* x, const float* residual,
                         float* out) {
    layer.Apply(x, rows, residual, out, team);
    team.Wait();
  };
  const auto silu = [&](float* x) {
    team.Share(rows, [&](int64_t begin, int64_t end) {
      cpu::SiluInPlace(x + begin * emb_, (end - begin) * emb_);
    });
    team.Wait();
  };

  const float* const frequency = map_noise_.frequencies().const_data_ptr<float>();
  const int64_t half = map_noise_.frequencies().size(0);
  const bool sines_first = map_noise_.order() == NoiseEmbedding::Order::kSinesFirst;
  team.Share(rows, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* const row = noise + b * noise_;
      for (int64_t i = 0; i < half; ++i) {
        const float angle = c_noise[b] * frequency[i];
        row[sines_first ? i : half + i] = std::sin(angle);
        row[sines_first ? half + i : i] = std::cos(angle);
      }
    }
  });
  team.Wait();
  if (label_first_ && map_label_) apply(*map_label_, labels, noise, noise);
  apply(layer0_, noise, nullptr, first);
  silu(first);
  apply(layer1_, first, nullptr, second);
  if (!label_first_ && map_label_) apply(*map_label_, labels, second, second);
  silu(second);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].Apply(second, rows, nullptr, result + Place(i, 0, rows), team);
  }
  team.Wait();
}

}  // namespace skipstream
