#include "model/backends/cpu/fused_conditioning.h"

#include <cmath>

#include "ATen/core/Tensor.h"
#include "model/backends/cpu/kernels.h"

namespace skipstream {

FusedConditioning::FusedConditioning(const EmbeddingParameters& parameters, int label_dim,
                                     int64_t emb_channels)
    : label_first_(parameters.label_first),
      noise_(parameters.noise_channels),
      emb_(emb_channels),
      map_noise_(parameters.map_noise),
      layer0_(parameters.layer0, noise_, emb_),
      layer1_(parameters.layer1, emb_, emb_) {
  if (label_dim > 0) {
    map_label_.emplace(parameters.map_label, label_dim, label_first_ ? noise_ : emb_,
                       parameters.label_factor);
  }
}

void FusedConditioning::AddBlock(const LayerParameters& affine, int64_t outputs,
                                 const cpu::AlignedBuffer<float>* bias) {
  FusedLinear& layer = blocks_.emplace_back(affine, emb_, outputs);
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
