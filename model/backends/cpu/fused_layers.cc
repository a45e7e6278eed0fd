#include "model/backends/cpu/fused_layers.h"

#include <algorithm>

namespace skipstream {

using cpu::AlignedBuffer;
using cpu::kLanes;
using cpu::RoundUp;

AlignedBuffer<float> PackVector(const at::Tensor& values) {
  if (!values.defined()) return {};
  AlignedBuffer<float> vector(RoundUp(values.numel(), kLanes));
  std::copy_n(values.const_data_ptr<float>(), values.numel(), vector.data());
  return vector;
}

FusedLinear::FusedLinear(const LayerParameters& parameters, int64_t inputs, int64_t outputs,
                         float factor)
    : inputs_(inputs), outputs_(outputs), bias_(PackVector(parameters.bias)) {
  if (!parameters.weight.defined()) return;
  if (bias_.size() == 0) bias_ = AlignedBuffer<float>(RoundUp(outputs, kLanes));
  weight_ = PackedMatrix<float>(inputs, outputs);
  weight_.Fill(
      parameters.weight.const_data_ptr<float>(), 0, inputs, [](int64_t i) { return i; }, factor);
}

void FusedLinear::Apply(const float* x, int64_t rows, const float* residual, float* out,
                        const cpu::Team& team) const {
  cpu::Convolution<float> task;
  task.inputs[0] = {x, inputs_, 0, 1};
  task.weight = weight_.data();
  task.bias = bias_.data();
  task.height = 1;
  task.width = rows;
  task.columns = outputs_;
  task.residual = residual;
  task.out = out;
  team.Share(cpu::ConvolutionUnits(task),
             [&](int64_t begin, int64_t end) { cpu::Convolve(task, begin, end); });
}

FusedNorm::FusedNorm(const NormParameters& parameters, int64_t channels)
    : channels(channels),
      groups(parameters.groups),
      weight(PackVector(parameters.weight)),
      bias(PackVector(parameters.bias)) {}

}  // namespace skipstream
