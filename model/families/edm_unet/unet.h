// Defines the raw network F inside a denoiser: a UNet whose skip connections are scaled per row.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_H_

#include <vector>

#include "ATen/core/Tensor.h"

namespace skipstream {

// Evaluates the network. Immutable; usable from several threads. A family's constructor takes every
// parameter from a ParameterSource, which reports errors in them.
class UNet {
 public:
  virtual ~UNet() = default;

  // Moves the parameters to the memory of the device that uses them, before the first Forward().
  virtual void MoveToDevice() {}

  // x [B, C, H, W] in channels-last memory, c_noise [B], labels [B, label_dim] (one-hot, or zero
  // for no class; undefined if label_dim is 0), rho [B, K]: skip i of row b, 0 the deepest, is
  // multiplied by rho[b, i] before it is concatenated behind the decoder's features. All float32.
  virtual at::Tensor Forward(const at::Tensor& x, const at::Tensor& c_noise,
                             const at::Tensor& labels, const at::Tensor& rho) const = 0;
};

// Holds the skips that the encoder has pushed and the decoder has not yet taken, during one
// Forward().
class SkipStack {
 public:
  // `rho` is [B, K] and outlives the stack.
  explicit SkipStack(const at::Tensor& rho) : rho_(rho) {}

  void Push(at::Tensor skip);
  const at::Tensor& top() const { return skips_.back(); }
  at::Tensor& top() { return skips_.back(); }

  // Takes the top skip off the stack, scales it, and returns the decoder's features h with the skip
  // behind them.
  at::Tensor Join(const at::Tensor& h);

 private:
  const at::Tensor& rho_;
  std::vector<at::Tensor> skips_;
  int64_t joined_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_H_
