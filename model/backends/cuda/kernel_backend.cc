#include "model/backends/cuda/kernel_backend.h"

#include <utility>

#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros.h"
#include "c10/util/Exception.h"
#include "model/backends/device_unet.h"

namespace skipstream {
namespace {

// As many rows as an executor may be asked for.
constexpr int64_t kMostRows = 4096;

void Check(int error) {
  TORCH_CHECK(error == 0, "a kernel was not launched: ", cuda::ErrorText(error));
}

cuda::Type TypeOf(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? cuda::Type::kBFloat16 : cuda::Type::kFloat32;
}

cuda::Sampling SamplingOf(Resample resample) {
  switch (resample) {
    case Resample::kNone:
      return cuda::Sampling::kNone;
    case Resample::kUp:
      return cuda::Sampling::kUp;
    case Resample::kDown:
      return cuda::Sampling::kDown;
  }
  return cuda::Sampling::kNone;
}

// Returns the distance from one image's values to the next one's in a tensor [B, ...]; 0 for [1,
// ...].
int64_t StrideOf(const at::Tensor& x) { return x.size(0) == 1 ? 0 : x.stride(0); }

const float* FloatsOf(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

cuda::NormOperand OperandOf(const DeviceFeature& feature) {
  return {feature.x.const_data_ptr(), FloatsOf(feature.sums), static_cast<int>(feature.x.size(3))};
}

}  // namespace

absl::StatusOr<std::unique_ptr<UNet>> KernelBackend::MakeUNet(const ModelDescription& model,
                                                              ParameterSource& source,
                                                              NetworkForm& form) {
  form = {Kernels::kFused, precision_.precision};
  return MakeDeviceUNet(model, form.precision, source, *this, *this);
}

at::TensorOptions KernelBackend::Options(at::ScalarType type) const {
  return at::TensorOptions(device()).dtype(type);
}

at::Tensor KernelBackend::Normalize(const NormTask& task) {
  const at::Tensor& x = task.x->x;
  cuda::Norm norm;
  norm.x = OperandOf(*task.x);
  if (task.skip != nullptr) {
    norm.skip = OperandOf(*task.skip);
    norm.rho = FloatsOf(task.rho);
    norm.rho_stride = StrideOf(task.rho);
  }
  if (task.added.defined()) {
    norm.added = FloatsOf(task.added);
    norm.added_stride = StrideOf(task.added);
  }
  norm.weight = FloatsOf(task.weight);
  norm.bias = FloatsOf(task.bias);
  if (task.scale.defined()) {
    norm.scale = FloatsOf(task.scale);
    norm.shift = FloatsOf(task.shift);
    norm.scale_stride = StrideOf(task.scale);
    norm.shift_stride = StrideOf(task.shift);
  }
  norm.groups = static_cast<int>(task.groups);
  norm.epsilon = task.epsilon;
  norm.silu = task.silu;
  norm.sampling = SamplingOf(task.resample);
  norm.type = TypeOf(x);
  norm.batch = static_cast<int>(x.size(0));
  norm.height = static_cast<int>(x.size(1));
  norm.width = static_cast<int>(x.size(2));
  const auto resampled = [&](int64_t size) {
    return task.resample == Resample::kUp     ? 2 * size
           : task.resample == Resample::kDown ? size / 2
                                              : size;
  };
  at::Tensor out = at::empty(
      {x.size(0), resampled(x.size(1)), resampled(x.size(2)), norm.x.channels + norm.skip.channels},
      Options(task.type));
  norm.out = out.mutable_data_ptr();
  norm.out_type = TypeOf(out);
  Check(cuda::Normalize(norm, stream()));
  return out;
}

DeviceFeature KernelBackend::Sum(const SumTask& task) {
  cuda::Sum sum;
  DeviceFeature result{at::empty_like(task.main), {}};
  sum.bias = FloatsOf(task.bias);
  if (task.shortcut.defined()) sum.shortcut = task.shortcut.const_data_ptr();
  if (task.second.defined()) {
    sum.second = task.second.const_data_ptr();
    sum.rho = FloatsOf(task.rho);
    sum.rho_stride = StrideOf(task.rho);
  }
  sum.sampling = SamplingOf(task.resample);
  sum.scale = task.scale;
  sum.out = result.x.mutable_data_ptr();
  result.sums = AddUp(sum, task.main);
  return result;
}

DeviceFeature KernelBackend::Measure(at::Tensor x, const at::Tensor& added) {
  cuda::Sum sum;
  if (added.defined()) {
    sum.bias = FloatsOf(added);
    sum.bias_stride = StrideOf(added);
  }
  at::Tensor sums = AddUp(sum, x);
  return {std::move(x), std::move(sums)};
}

void KernelBackend::Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
                           const at::Tensor& labels) {
  Check(cuda::Gather(task.rows, static_cast<int>(task.count), task.shape,
                     labels.defined() ? static_cast<int>(labels.size(1)) : 0,
                     x.mutable_data_ptr<float>(), c_noise.mutable_data_ptr<float>(),
                     labels.defined() ? labels.mutable_data_ptr<float>() : nullptr, stream()));
}

void KernelBackend::Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) {
  Check(cuda::Update(task.updates, task.rows, static_cast<int>(task.count), task.shape,
                     f.const_data_ptr<float>(), static_cast<int>(f.size(3)),
                     failures.mutable_data_ptr<int32_t>(), stream()));
}

at::Tensor KernelBackend::ToImage(const at::Tensor& values, Extent shape) {
  at::Tensor pixels = at::empty({shape.pixels(), shape.channels}, Options(at::kByte));
  Check(cuda::ToImage(values.const_data_ptr<double>(), shape, pixels.mutable_data_ptr<uint8_t>(),
                      stream()));
  return pixels;
}

at::Tensor KernelBackend::AddUp(cuda::Sum& sum, const at::Tensor& main) {
  sum.main = main.const_data_ptr();
  sum.type = TypeOf(main);
  sum.batch = static_cast<int>(main.size(0));
  sum.height = static_cast<int>(main.size(1));
  sum.width = static_cast<int>(main.size(2));
  sum.channels = static_cast<int>(main.size(3));
  if (!arrived_.defined()) arrived_ = at::zeros({kMostRows}, Options(at::kInt));
  const at::Tensor partial =
      at::empty({sum.batch, cuda::SumChunks(sum), 2, sum.channels}, Options(at::kFloat));
  at::Tensor sums = at::empty({sum.batch, 2, sum.channels}, Options(at::kFloat));
  sum.partial = partial.mutable_data_ptr<float>();
  sum.arrived = arrived_.mutable_data_ptr<int>();
  sum.sums = sums.mutable_data_ptr<float>();
  Check(cuda::AddUp(sum, stream()));
  return sums;
}

}  // namespace skipstream
