// Names the kernels and the precision that a network is computed with. Torch-free.
#ifndef SKIPSTREAM_MODEL_NETWORK_FORM_H_
#define SKIPSTREAM_MODEL_NETWORK_FORM_H_

#include <string>

namespace skipstream {

enum class Precision {
  kFloat32,
  // Weights and what convolutions and attention multiply are rounded to bfloat16; sums, norms, the
  // noise embedding and the first convolution stay float32.
  kBFloat16,
};

enum class Kernels {
  kAuto,       // fused where the CPU and the network allow it, else reference
  kFused,      // kernels of model/backends
  kReference,  // LibTorch's, in float32
};

struct NetworkForm {
  Kernels kernels = Kernels::kAuto;
  Precision precision = Precision::kFloat32;
};

// Says in which precision an executor computes networks that have a form in it, and why.
struct PrecisionChoice {
  Precision precision = Precision::kFloat32;
  std::string reason;  // continues "bfloat16: ..."
};

constexpr const char* Name(Precision precision) {
  return precision == Precision::kBFloat16 ? "bfloat16" : "float32";
}
constexpr const char* Name(Kernels kernels) {
  return kernels == Kernels::kAuto ? "auto" : kernels == Kernels::kFused ? "fused" : "reference";
}

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_FORM_H_
