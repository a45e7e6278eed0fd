// The random numbers of one sample: what PyTorch's torch.randn gives with a CPU generator.
#ifndef SKIPSTREAM_MODEL_EXECUTION_NOISE_SOURCE_H_
#define SKIPSTREAM_MODEL_EXECUTION_NOISE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <vector>

namespace at {
struct Generator;
}

namespace skipstream {

class NoiseSource {
 public:
  // As torch.Generator().manual_seed(seed).
  explicit NoiseSource(uint64_t seed);
  NoiseSource(NoiseSource&&) noexcept;
  NoiseSource& operator=(NoiseSource&&) noexcept;
  ~NoiseSource();

  // The next torch.randn([C, H, W]) (float32, C-contiguous), widened.
  std::vector<double> Draw(int channels, int height, int width);

 private:
  std::unique_ptr<at::Generator> generator_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_NOISE_SOURCE_H_
