#include "model/backends/cpu/cpu_backend.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>
#include <variant>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "c10/util/Exception.h"
#include "model/backends/cpu/cpu_features.h"
#include "model/backends/cpu/fused_unet.h"
#include "model/families/edm_unet/dhariwal_unet.h"
#include "model/families/edm_unet/song_unet.h"

namespace skipstream {
namespace {

using SteadyClock = std::chrono::steady_clock;

class CpuMark final : public DeviceMark {
 public:
  void Wait() override {}
  absl::Duration Since(const DeviceMark& earlier) const override {
    return absl::FromChrono(time_ - static_cast<const CpuMark&>(earlier).time_);
  }

 private:
  SteadyClock::time_point time_ = SteadyClock::now();
};

class CpuGraph final : public DeviceGraph {
 public:
  explicit CpuGraph(std::function<void()> body) : body_(std::move(body)) {}
  void Replay() override { body_(); }

 private:
  std::function<void()> body_;
};

// Settles which kernels there will be.
absl::Status Resolve(const ModelDescription& model, NetworkForm& form) {
  if (form.kernels != Kernels::kReference) {
    absl::Status fused = CheckFused(model.config, form.precision);
    if (fused.ok()) {
      form.kernels = Kernels::kFused;
      return absl::OkStatus();
    }
    if (form.kernels == Kernels::kFused || form.precision != Precision::kFloat32) return fused;
    form.kernels = Kernels::kReference;
  }
  if (form.precision != Precision::kFloat32) {
    return absl::UnimplementedError("the reference kernels compute in float32 only");
  }
  return absl::OkStatus();
}

PrecisionChoice ChoosePrecision(const CpuBackend::Options& options) {
  if (options.precision) return {*options.precision, "asked for"};
  if (options.deterministic) return {Precision::kFloat32, "results are to be deterministic"};
  if (options.kernels == Kernels::kReference) {
    return {Precision::kFloat32, "the reference kernels have no other"};
  }
  return FasterPrecision(DetectCpuFeatures());
}

}  // namespace

absl::StatusOr<std::unique_ptr<UNet>> MakeCpuUNet(const ModelDescription& model,
                                                  ParameterSource& source, NetworkForm& form) {
  if (absl::Status status = Resolve(model, form); !status.ok()) return status;
  const int out_channels = model.out_channels();
  if (form.kernels == Kernels::kFused) {
    return MakeFusedUNet(model.config, out_channels, form.precision, source);
  }
  if (const auto* song = std::get_if<SongUNetConfig>(&model.config)) {
    return std::make_unique<SongUNet>(*song, out_channels, source);
  }
  return std::make_unique<DhariwalUNet>(std::get<DhariwalUNetConfig>(model.config), out_channels,
                                        source);
}

CpuBackend::CpuBackend(const Options& options)
    : options_(options), precision_(ChoosePrecision(options)) {}

absl::StatusOr<std::unique_ptr<UNet>> CpuBackend::MakeUNet(const ModelDescription& model,
                                                           ParameterSource& source,
                                                           NetworkForm& form) {
  form = {options_.kernels, precision_.precision};
  // A network without a form in the faster precision is computed in float32, unless a precision
  // was asked for.
  if (NetworkForm settled = form;
      !options_.precision && absl::IsUnimplemented(Resolve(model, settled))) {
    form.precision = Precision::kFloat32;
  }
  return MakeCpuUNet(model, source, form);
}

void CpuBackend::Enter() {
  at::set_num_threads(options_.threads > 0
                          ? options_.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

std::unique_ptr<DeviceMark> CpuBackend::Mark() { return std::make_unique<CpuMark>(); }

std::unique_ptr<DeviceGraph> CpuBackend::Capture(const std::function<void()>& body) {
  return std::make_unique<CpuGraph>(body);
}

at::Tensor CpuBackend::HostBuffer(int64_t bytes) { return at::empty({bytes}, at::kByte); }

void CpuBackend::Copy(const at::Tensor& to, const at::Tensor& from) {
  TORCH_CHECK(to.nbytes() == from.nbytes() && to.is_contiguous() && from.is_contiguous());
  std::memcpy(to.mutable_data_ptr(), from.const_data_ptr(), to.nbytes());
}

void CpuBackend::Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
                        const at::Tensor& labels) {
  if (labels.defined()) labels.zero_();
  for (int64_t b = 0; b < task.count; ++b) {
    const RowDescriptor& row = task.rows[b];
    cpu::GatherRow(row, task.shape, x.mutable_data_ptr<float>() + b * task.shape.elements());
    c_noise.mutable_data_ptr<float>()[b] = row.eval == nullptr ? 0.0f : row.c_noise;
    if (labels.defined() && row.eval != nullptr && row.class_index >= 0) {
      labels.mutable_data_ptr<float>()[b * labels.size(1) + row.class_index] = 1.0f;
    }
  }
}

void CpuBackend::Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) {
  for (int64_t u = 0; u < task.count; ++u) {
    failures.mutable_data_ptr<int32_t>()[u] =
        task.updates[u].registers == nullptr
            ? 0
            : cpu::UpdateSlot(task.updates[u], task.rows, f.const_data_ptr<float>(),
                              static_cast<int>(f.size(3)), task.shape, scratch_);
  }
}

at::Tensor CpuBackend::ToImage(const at::Tensor& values, Extent shape) {
  at::Tensor pixels = at::empty({shape.pixels(), shape.channels}, at::kByte);
  const auto* const from = values.const_data_ptr<double>();
  auto* const to = pixels.mutable_data_ptr<uint8_t>();
  for (int c = 0; c < shape.channels; ++c) {
    for (int p = 0; p < shape.pixels(); ++p) {
      to[int64_t{p} * shape.channels + c] = PixelOf(from[int64_t{c} * shape.pixels() + p]);
    }
  }
  return pixels;
}

}  // namespace skipstream
