// Draws the random numbers of one sample, equal to PyTorch's torch.randn with a CPU generator.
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
  // Seeds the generator as torch.Generator().manual_seed(seed).
  explicit NoiseSource(uint64_t seed);
  NoiseSource(NoiseSource&&) noexcept;
  NoiseSource& operator=(NoiseSource&&) noexcept;
  ~NoiseSource();

  // Returns the next torch.randn([C, H, W]) (float32, C-contiguous), widened to float64.
  std::vector<double> Draw(int channels, int height, int width);

 private:
  std::unique_ptr<at::Generator> generator_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_NOISE_SOURCE_H_
