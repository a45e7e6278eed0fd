#include "tests/model/backends/host_backend.h"

#include <chrono>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/ops/avg_pool2d.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/upsample_nearest2d.h"
#include "c10/util/Exception.h"
#include "model/backends/device_unet.h"

namespace skipstream {
namespace {

using SteadyClock = std::chrono::steady_clock;

class HostMark final : public DeviceMark {
 public:
  explicit HostMark(std::shared_ptr<HostDevice> device) : device_(std::move(device)) {}
  void Wait() override { TORCH_CHECK(!device_->lost, "the device is lost"); }
  absl::Duration Since(const DeviceMark& earlier) const override {
    return absl::FromChrono(time_ - static_cast<const HostMark&>(earlier).time_);
  }

 private:
  std::shared_ptr<HostDevice> device_;
  SteadyClock::time_point time_ = SteadyClock::now();
};

class HostGraph final : public DeviceGraph {
 public:
  HostGraph(std::shared_ptr<HostDevice> device, std::function<void()> body)
      : device_(std::move(device)), body_(std::move(body)) {}
  void Replay() override {
    ++device_->replays;
    body_();
  }

 private:
  std::shared_ptr<HostDevice> device_;
  std::function<void()> body_;
};

// [B] or [B, C] over the pixels of [B, H, W, C].
at::Tensor PerImage(const at::Tensor& x) { return x.view({-1, 1, 1, 1}); }
at::Tensor PerChannel(const at::Tensor& x) { return x.unsqueeze(1).unsqueeze(1); }

at::Tensor Resampled(const at::Tensor& x, Resample resample) {
  if (resample == Resample::kNone) return x;
  const at::Tensor images = x.permute({0, 3, 1, 2});
  return (resample == Resample::kUp ? at::upsample_nearest2d(images, {2 * x.size(1), 2 * x.size(2)})
                                    : at::avg_pool2d(images, 2))
      .permute({0, 2, 3, 1})
      .contiguous();
}

}  // namespace

HostBackend::HostBackend(std::shared_ptr<HostDevice> state, std::optional<Precision> precision,
                         bool deterministic)
    : CpuBackend({.precision = precision.value_or(deterministic ? Precision::kFloat32
                                                                : Precision::kBFloat16)}),
      state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<UNet>> HostBackend::MakeUNet(const ModelDescription& model,
                                                            ParameterSource& source,
                                                            NetworkForm& form) {
  form = {Kernels::kFused, precision().precision};
  return MakeDeviceUNet(model, form.precision, source, *this, *this);
}

std::unique_ptr<DeviceMark> HostBackend::Mark() { return std::make_unique<HostMark>(state_); }

std::unique_ptr<DeviceGraph> HostBackend::Capture(const std::function<void()>& body) {
  body();
  ++state_->captures;
  return std::make_unique<HostGraph>(state_, body);
}

at::Tensor HostBackend::Normalize(const NormTask& task) {
  at::Tensor x = task.x->x.to(at::kFloat);
  at::Tensor sums = task.x->sums;
  if (task.added.defined()) x = x.add(PerChannel(task.added));
  if (task.skip != nullptr) {
    x = at::cat({x, task.skip->x.to(at::kFloat).mul(PerImage(task.rho))}, 3);
    const at::Tensor factors = at::stack({task.rho, task.rho.square()}, 1).unsqueeze(2);
    sums = at::cat({sums, task.skip->sums.mul(factors)}, 2);
  }
  const int64_t batch = x.size(0);
  const int64_t channels = x.size(3);
  const double count =
      static_cast<double>(x.size(1) * x.size(2) * channels) / static_cast<double>(task.groups);
  const at::Tensor moments =
      sums.to(at::kDouble).view({batch, 2, task.groups, -1}).sum(3).div(count);
  const at::Tensor mean = moments.select(1, 0);
  const at::Tensor inverse = (moments.select(1, 1) - mean.square() + task.epsilon).rsqrt();
  const auto of_channels = [&](const at::Tensor& groups) {
    return PerChannel(groups.unsqueeze(2)
                          .expand({batch, task.groups, channels / task.groups})
                          .reshape({batch, channels}))
        .to(at::kFloat);
  };
  at::Tensor y = (x - of_channels(mean)) * of_channels(inverse) * task.weight + task.bias;
  if (task.scale.defined()) {
    y = y * (PerChannel(task.scale) + 1.0f) + PerChannel(task.shift);
  }
  if (task.silu) y = at::silu(y);
  return Resampled(y, task.resample).to(task.type);
}

DeviceFeature HostBackend::Sum(const SumTask& task) {
  at::Tensor sum = task.main.to(at::kFloat) + task.bias;
  if (task.shortcut.defined()) sum = sum + Resampled(task.shortcut.to(at::kFloat), task.resample);
  if (task.second.defined()) sum = sum + task.second.to(at::kFloat) * PerImage(task.rho);
  return Measure(sum.mul(task.scale).to(task.main.scalar_type()), {});
}

DeviceFeature HostBackend::Measure(at::Tensor x, const at::Tensor& added) {
  at::Tensor values = x.to(at::kFloat);
  if (added.defined()) values = values + PerChannel(added);
  at::Tensor sums = at::stack({values.sum({1, 2}), values.square().sum({1, 2})}, 1);
  return {std::move(x), std::move(sums)};
}

void HostBackend::Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
                         const at::Tensor& labels) {
  TORCH_CHECK_WITH(
      OutOfMemoryError,
      task.count <= state_->memory_for_rows && task.count != state_->no_memory_for_rows,
      "out of memory");
  CpuBackend::Gather(task, x, c_noise, labels);
}

void HostBackend::Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) {
  for (int64_t u = 0; u < task.count; ++u) {
    int32_t& seen = failures.mutable_data_ptr<int32_t>()[u];
    seen = 0;
    if (task.updates[u].registers == nullptr) continue;
    for (int64_t i = 0; i < task.shape.elements(); ++i) {
      seen |= UpdateElement(task.updates[u], task.rows, f.const_data_ptr<float>(),
                            static_cast<int>(f.size(3)), task.shape, i);
    }
  }
}

}  // namespace skipstream
