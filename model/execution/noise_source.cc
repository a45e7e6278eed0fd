#include "model/execution/noise_source.h"

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/randn.h"

namespace skipstream {

NoiseSource::NoiseSource(uint64_t seed)
    : generator_(std::make_unique<at::Generator>(at::detail::createCPUGenerator(seed))) {}
NoiseSource::NoiseSource(NoiseSource&&) noexcept = default;
NoiseSource& NoiseSource::operator=(NoiseSource&&) noexcept = default;
NoiseSource::~NoiseSource() = default;

std::vector<double> NoiseSource::Draw(int channels, int height, int width) {
  const at::Tensor noise =
      at::randn({channels, height, width}, *generator_, at::TensorOptions().dtype(at::kFloat));
  const float* data = noise.const_data_ptr<float>();
  return std::vector<double>(data, data + noise.numel());
}

}  // namespace skipstream
