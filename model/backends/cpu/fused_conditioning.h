// What the fused form of a network makes of noise levels and classes, in float32.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_CONDITIONING_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_CONDITIONING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/backends/cpu/fused_layers.h"
#include "model/backends/cpu/team.h"
#include "model/families/edm_unet/dhariwal_unet_config.h"
#include "model/families/edm_unet/song_unet_config.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// The noise level and the class of each row as one vector, and what every block takes from it.
class FusedConditioning {
 public:
  FusedConditioning(const SongUNetConfig& config, ParameterSource& source);
  FusedConditioning(const DhariwalUNetConfig& config, ParameterSource& source);

  // The layer `name` of the next block, whose outputs, plus `bias` if there is one, Apply()
  // computes too.
  void AddBlock(ParameterSource& source, const std::string& name, int64_t outputs,
                const cpu::AlignedBuffer<float>* bias);

  // Outputs of all blocks.
  int64_t outputs() const { return outputs_; }
  // Where in the result of Apply() for `rows` rows the outputs of a block for one of them are.
  int64_t Place(size_t block, int64_t row, int64_t rows) const {
    return first_[block] * rows + blocks_[block].outputs() * row;
  }

  // Values Apply() needs room for per row, besides its result.
  int64_t scratch_size() const { return noise_ + 2 * emb_; }
  // c_noise [rows], labels [rows, label_dim] or null; result: rows * outputs() values. Called by
  // every member of the team; returns when all of it is done.
  void Apply(const float* c_noise, const float* labels, int64_t rows, float* scratch, float* result,
             const cpu::Team& team) const;

 private:
  void TakeLayers(int augment_dim, ParameterSource& source);

  bool label_first_ = false;  // the class joins the noise embedding; else what is made of it
  int64_t noise_;
  int64_t emb_;
  NoiseEmbedding map_noise_;
  std::optional<FusedLinear> map_label_;
  FusedLinear layer0_;
  FusedLinear layer1_;
  std::vector<FusedLinear> blocks_;
  std::vector<int64_t> first_;  // outputs of the blocks before each
  int64_t outputs_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_CONDITIONING_H_
