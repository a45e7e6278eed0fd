#include "model/families/edm_unet/unet.h"

#include <utility>

#include "ATen/ops/cat.h"

namespace skipstream {

void SkipStack::Push(at::Tensor skip) { skips_.push_back(std::move(skip)); }

at::Tensor SkipStack::Join(const at::Tensor& h) {
  const at::Tensor scale = rho_.select(1, joined_++).view({-1, 1, 1, 1});
  at::Tensor joined = at::cat({h, skips_.back().mul(scale)}, 1);
  skips_.pop_back();
  return joined;
}

}  // namespace skipstream
