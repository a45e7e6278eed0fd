// Packs the parameters of the fused form of a network as the kernels of model/backends/cpu read
// them. Where a source has no values, the layers are empty.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_LAYERS_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_LAYERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "base/aligned_buffer.h"
#include "model/backends/cpu/kernels.h"
#include "model/backends/cpu/team.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// Takes a vector [n], with room for the kernels to read whole vectors.
cpu::AlignedBuffer<float> TakeVector(ParameterSource& source, const std::string& name, int64_t n);

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
  FusedLinear(ParameterSource& source, const std::string& name, int64_t inputs, int64_t outputs,
              Linear::Bias stored = Linear::Bias::kStored, float factor = 1.0f);

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

  struct Operand {
    std::string name;
    int64_t channels;
    int kernel;
  };

  FusedConv() = default;
  // Reorders outputs stored as (c, part) to (part, c), for `parts` parts.
  FusedConv(ParameterSource& source, const std::vector<Operand>& operands, int64_t outputs,
            int64_t parts = 1) {
    const auto column = [&](int64_t i) { return i % parts * (outputs / parts) + i / parts; };
    std::vector<at::Tensor> weights;
    bool whole = true;
    int64_t rows = 0;
    for (const Operand& operand : operands) {
      const at::Tensor& taken = weights.emplace_back(source.TakeKernel(
          operand.name + ".weight", {outputs, operand.channels, operand.kernel, operand.kernel}));
      const at::Tensor biases = source.Take(operand.name + ".bias", {outputs});
      whole = whole && taken.defined() && biases.defined();
      rows += Rows(operand);
      if (!whole) continue;
      if (bias.size() == 0) bias = cpu::AlignedBuffer<float>(cpu::RoundUp(outputs, cpu::kLanes));
      for (int64_t i = 0; i < outputs; ++i) {
        bias.data()[column(i)] += biases.const_data_ptr<float>()[i];
      }
    }
    if (!whole) return;
    weight = PackedMatrix<T>(rows, outputs);
    int64_t row = 0;
    for (size_t i = 0; i < operands.size(); ++i) {
      // Weights are in channels-last memory: [out, tap, in].
      weight.Fill(weights[i].const_data_ptr<float>(), row, Rows(operands[i]), column);
      row += Rows(operands[i]);
    }
  }

 private:
  static int64_t Rows(const Operand& operand) {
    return operand.kernel * operand.kernel * operand.channels;
  }
};

struct FusedNorm {
  int64_t channels = 0;
  int64_t groups = 1;
  cpu::AlignedBuffer<float> weight;
  cpu::AlignedBuffer<float> bias;

  FusedNorm() = default;
  FusedNorm(ParameterSource& source, const std::string& name, int64_t channels);
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_LAYERS_H_
