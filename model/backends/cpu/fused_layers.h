// Packs the parameters of the fused form of a network as the kernels of model/backends/cpu read
// them. Where a source has no values, the layers are empty.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_LAYERS_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_LAYERS_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "base/aligned_buffer.h"
#include "model/backends/cpu/kernels.h"
#include "model/backends/cpu/team.h"
#include "model/nn/parameters.h"

namespace skipstream {

// Copies a vector [n], with room for the kernels to read whole vectors; empty if it is undefined.
cpu::AlignedBuffer<float> PackVector(const at::Tensor& values);

// Holds a packed matrix that is filled part by part.
template <typename T>
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(int64_t rows, int64_t columns)
      : rows_(rows), columns_(columns), values_(cpu::PackedSize<T>(rows, columns)) {}

  // Fills column column(i), from row `first` on, with the i-th `rows` values of `weight`, times
  // `factor`.
  template <typename Column>
  void Fill(const float* weight, int64_t first, int64_t rows, const Column& column,
            float factor = 1.0f) {
    for (int64_t i = 0; i < columns_; ++i) {
      const int64_t to = column(i);
      for (int64_t row = first; row < first + rows; ++row) {
        values_.data()[cpu::PackedIndex<T>(rows_, columns_, row, to)] =
            cpu::Rounded(*weight++ * factor, T());
      }
    }
  }

  const T* data() const { return values_.data(); }

 private:
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  cpu::AlignedBuffer<T> values_;
};

// Applies a fully connected layer in float32.
class FusedLinear {
 public:
  FusedLinear() = default;
  // Multiplies the weight by `factor`.
  FusedLinear(const LayerParameters& parameters, int64_t inputs, int64_t outputs,
              float factor = 1.0f);

  int64_t outputs() const { return outputs_; }
  cpu::AlignedBuffer<float>& bias() { return bias_; }

  // Computes this member's part of x [rows, inputs] -> out [rows, outputs], plus `residual` if
  // there is one.
  void Apply(const float* x, int64_t rows, const float* residual, float* out,
             const cpu::Team& team) const;

 private:
  int64_t inputs_ = 0;
  int64_t outputs_ = 0;
  PackedMatrix<float> weight_;
  cpu::AlignedBuffer<float> bias_;
};

// Holds convolutions of one operand each that add up to one result.
template <typename T>
struct FusedConv {
  PackedMatrix<T> weight;
  cpu::AlignedBuffer<float> bias;

  FusedConv() = default;
  // Reorders outputs stored as (c, part) to (part, c), for `parts` parts.
  FusedConv(const std::vector<LayerParameters>& operands, int64_t outputs, int64_t parts = 1) {
    const auto column = [&](int64_t i) { return i % parts * (outputs / parts) + i / parts; };
    int64_t rows = 0;
    for (const LayerParameters& operand : operands) {
      if (!operand.weight.defined() || !operand.bias.defined()) return;
      rows += operand.weight.numel() / outputs;
    }
    bias = cpu::AlignedBuffer<float>(cpu::RoundUp(outputs, cpu::kLanes));
    weight = PackedMatrix<T>(rows, outputs);
    int64_t row = 0;
    for (const LayerParameters& operand : operands) {
      for (int64_t i = 0; i < outputs; ++i) {
        bias.data()[column(i)] += operand.bias.const_data_ptr<float>()[i];
      }
      // Weights are in channels-last memory: [out, tap, in].
      const int64_t count = operand.weight.numel() / outputs;
      weight.Fill(operand.weight.const_data_ptr<float>(), row, count, column);
      row += count;
    }
  }
};

struct FusedNorm {
  int64_t channels = 0;
  int64_t groups = 1;
  cpu::AlignedBuffer<float> weight;
  cpu::AlignedBuffer<float> bias;

  FusedNorm() = default;
  FusedNorm(const NormParameters& parameters, int64_t channels);
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_LAYERS_H_
