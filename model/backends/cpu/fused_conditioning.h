// Computes the conditions of a network's fused form from noise levels and classes, in float32.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_CONDITIONING_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_CONDITIONING_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/backends/cpu/fused_layers.h"
#include "model/backends/cpu/team.h"
#include "model/families/edm_unet/unet_parameters.h"
#include "model/nn/layers.h"

namespace skipstream {

// Combines the noise level and the class of each row into one vector, and applies every block's
// affine layer to it.
class FusedConditioning {
 public:
  FusedConditioning(const EmbeddingParameters& parameters, int label_dim, int64_t emb_channels);

  // Adds the affine layer of the next block. Apply() computes its outputs, plus `bias` if there is
  // one, too.
  void AddBlock(const LayerParameters& affine, int64_t outputs,
                const cpu::AlignedBuffer<float>* bias);

  // Returns the number of outputs of all blocks.
  int64_t outputs() const { return outputs_; }
  // Returns the offset, in the result of Apply() for `rows` rows, of a block's outputs for one row.
  int64_t Place(size_t block, int64_t row, int64_t rows) const {
    return first_[block] * rows + blocks_[block].outputs() * row;
  }

  // Returns the values per row that Apply() needs room for, besides its result.
  int64_t scratch_size() const { return noise_ + 2 * emb_; }
  // Computes rows * outputs() values into `result` from c_noise [rows] and labels [rows, label_dim]
  // or null. Called by every member of the team; returns when all of it is done.
  void Apply(const float* c_noise, const float* labels, int64_t rows, float* scratch, float* result,
             const cpu::Team& team) const;

 private:
  bool label_first_ = false;  // the class joins the noise embedding; else the layers' output
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
