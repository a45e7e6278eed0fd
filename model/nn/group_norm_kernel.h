#ifndef SKIPSTREAM_MODEL_NN_GROUP_NORM_KERNEL_H_
#define SKIPSTREAM_MODEL_NN_GROUP_NORM_KERNEL_H_

#include <cstdint>

namespace skipstream {

struct GroupNormShape {
  int64_t pixels = 0;  // H * W
  int64_t channels = 0;
  int64_t groups = 0;
  float epsilon = 0.0f;
};

// Applies a group norm to one image in channels-last memory [H, W, C], on a CPU: `out` may be `x`.
// weight and bias are [C]. LibTorch's own takes about ten times as long in this layout below 32x32
// pixels.
void GroupNormChannelsLast(const GroupNormShape& shape, const float* x, const float* weight,
                           const float* bias, float* out);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_GROUP_NORM_KERNEL_H_
