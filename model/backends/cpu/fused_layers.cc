#include "model/backends/cpu/fused_layers.h"

#include <algorithm>

namespace skipstream {

using cpu::AlignedBuffer;
using cpu::kLanes;
using cpu::RoundUp;

AlignedBuffer<float> TakeVector(ParameterSource& source, const std::string& name, int64_t n) {
  const at::Tensor values = source.Take(name, {n});
  if (!values.defined()) return {};
  AlignedBuffer<float> vector(RoundUp(n, kLanes));
  std::copy_n(values.const_data_ptr<float>(), n, vector.data());
  return vector;
}

FusedLinear::FusedLinear(ParameterSource& source, const std::string& name, int64_t inputs,
                         int64_t outputs, Linear::Bias stored, float factor)
    : inputs_(inputs), outputs_(outputs) {
  const at::Tensor weight = source.Take(name + ".weight", {outputs, inputs});
  if (stored == Linear::Bias::kStored) bias_ = TakeVector(source, name + ".bias", outputs);
  if (!weight.defined()) return;
  if (stored == Linear::Bias::kNone) bias_ = AlignedBuffer<float>(RoundUp(outputs, kLanes));
  weight_ = PackedMatrix<float>(inputs, outputs);
  weight_.Fill(weight.const_data_ptr<float>(), 0, inputs, [](int64_t i) { return i; }, factor);
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

FusedNorm::FusedNorm(ParameterSource& source, const std::string& name, int64_t channels)
    : channels(channels),
      groups(GroupNorm::GroupsOf(source, name, static_cast<int>(channels))),
      weight(TakeVector(source, name + ".weight", channels)),
      bias(TakeVector(source, name + ".bias", channels)) {}

}  // namespace skipstream
