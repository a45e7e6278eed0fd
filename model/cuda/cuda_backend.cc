#include "model/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "ATen/Context.h"
#include "ATen/cuda/CUDAGraph.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "c10/cuda/CUDACachingAllocator.h"
#include "c10/cuda/CUDAException.h"
#include "c10/cuda/CUDAFunctions.h"
#include "c10/cuda/CUDAGuard.h"
#include "c10/cuda/CUDAStream.h"
#include "model/cuda/kernels.h"
#include "model/torch/exception_status.h"

namespace skipstream {
namespace {

// More rows than an executor may be asked for.
constexpr int64_t kMostRows = 4096;

void Check(int error) { C10_CUDA_CHECK(static_cast<cudaError_t>(error)); }

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

// Of a tensor [B, ...] or [1, ...]: from one image's values to the next one's.
int64_t StrideOf(const at::Tensor& x) { return x.size(0) == 1 ? 0 : x.stride(0); }

const float* FloatsOf(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

class CudaMark final : public DeviceMark {
 public:
  CudaMark(int device, const c10::cuda::CUDAStream& stream) : device_(device) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    // Whoever waits sleeps: the thread that queues needs the core.
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventBlockingSync));
    C10_CUDA_CHECK(cudaEventRecord(event_, stream));
  }
  ~CudaMark() override { C10_CUDA_CHECK_WARN(cudaEventDestroy(event_)); }
  CudaMark(const CudaMark&) = delete;
  CudaMark& operator=(const CudaMark&) = delete;

  void Wait() override { C10_CUDA_CHECK(cudaEventSynchronize(event_)); }
  absl::Duration Since(const DeviceMark& earlier) const override {
    float milliseconds = 0.0f;
    C10_CUDA_CHECK(
        cudaEventElapsedTime(&milliseconds, static_cast<const CudaMark&>(earlier).event_, event_));
    return absl::Milliseconds(milliseconds);
  }

 private:
  int device_;
  cudaEvent_t event_ = nullptr;
};

class CudaGraph final : public DeviceGraph {
 public:
  explicit CudaGraph(std::unique_ptr<at::cuda::CUDAGraph> graph) : graph_(std::move(graph)) {}
  void Replay() override { graph_->replay(); }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

class CudaBackend final : public DeviceBackend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : index_(static_cast<c10::DeviceIndex>(options.index)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, index_)),
        pool_(at::cuda::graph_pool_handle()) {
    Enter();
    at::Context& context = at::globalContext();
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
    context.setDeterministicCuDNN(options.deterministic);
    context.setBenchmarkCuDNN(!options.deterministic);
    arrived_ = at::zeros({kMostRows}, Options(at::kInt));
  }

  std::string name() const override {
    cudaDeviceProp properties;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index_));
    return properties.name;
  }
  at::Device device() const override { return {at::kCUDA, index_}; }

  void Enter() override {
    c10::cuda::set_device(index_);
    c10::cuda::setCurrentCUDAStream(stream_);
  }

  std::unique_ptr<DeviceMark> Mark() override {
    return std::make_unique<CudaMark>(index_, stream_);
  }

  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) override {
    // Libraries choose algorithms and allocate workspaces when they see a shape first.
    for (int i = 0; i < 2; ++i) body();
    C10_CUDA_CHECK(cudaStreamSynchronize(stream_));
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      body();
    } catch (...) {
      AbandonCapture(*graph);
      throw;
    }
    graph->capture_end();
    return std::make_unique<CudaGraph>(std::move(graph));
  }

  at::Tensor HostBuffer(int64_t bytes) override {
    return at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
  }

  void ReleaseCache() override {
    C10_CUDA_CHECK(cudaStreamSynchronize(stream_));
    c10::cuda::CUDACachingAllocator::emptyCache();
  }

  at::Tensor Normalize(const NormTask& task) override {
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
    at::Tensor out = at::empty({x.size(0), resampled(x.size(1)), resampled(x.size(2)),
                                norm.x.channels + norm.skip.channels},
                               Options(task.type));
    norm.out = out.mutable_data_ptr();
    norm.out_type = TypeOf(out);
    Check(cuda::Normalize(norm, stream_));
    return out;
  }

  DeviceFeature Sum(const SumTask& task) override {
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

  DeviceFeature Measure(at::Tensor x, const at::Tensor& added) override {
    cuda::Sum sum;
    if (added.defined()) {
      sum.bias = FloatsOf(added);
      sum.bias_stride = StrideOf(added);
    }
    at::Tensor sums = AddUp(sum, x);
    return {std::move(x), std::move(sums)};
  }

  void Gather(const RowTask& task, const at::Tensor& x, const at::Tensor& c_noise,
              const at::Tensor& labels) override {
    Check(cuda::Gather(task.rows, static_cast<int>(task.count), task.shape,
                       labels.defined() ? static_cast<int>(labels.size(1)) : 0,
                       x.mutable_data_ptr<float>(), c_noise.mutable_data_ptr<float>(),
                       labels.defined() ? labels.mutable_data_ptr<float>() : nullptr, stream_));
  }

  void Update(const RowTask& task, const at::Tensor& f, const at::Tensor& failures) override {
    Check(cuda::Update(task.updates, task.rows, static_cast<int>(task.count), task.shape,
                       f.const_data_ptr<float>(), static_cast<int>(f.size(3)),
                       failures.mutable_data_ptr<int32_t>(), stream_));
  }

  at::Tensor ToPixels(const at::Tensor& values, ImageShape shape) override {
    at::Tensor pixels = at::empty({shape.pixels, shape.channels}, Options(at::kByte));
    Check(cuda::ToPixels(values.const_data_ptr<double>(), shape, pixels.mutable_data_ptr<uint8_t>(),
                         stream_));
    return pixels;
  }

 private:
  at::TensorOptions Options(at::ScalarType type) const {
    return at::TensorOptions(device()).dtype(type);
  }

  static cuda::NormOperand OperandOf(const DeviceFeature& feature) {
    return {feature.x.const_data_ptr(), FloatsOf(feature.sums),
            static_cast<int>(feature.x.size(3))};
  }

  // Fills in the shape and what the sums need, and launches. Returns the sums.
  at::Tensor AddUp(cuda::Sum& sum, const at::Tensor& main) {
    sum.main = main.const_data_ptr();
    sum.type = TypeOf(main);
    sum.batch = static_cast<int>(main.size(0));
    sum.height = static_cast<int>(main.size(1));
    sum.width = static_cast<int>(main.size(2));
    sum.channels = static_cast<int>(main.size(3));
    const at::Tensor partial = at::empty(
        {sum.batch, cuda::SumChunks(sum.height * sum.width), 2, sum.channels}, Options(at::kFloat));
    at::Tensor sums = at::empty({sum.batch, 2, sum.channels}, Options(at::kFloat));
    sum.partial = partial.mutable_data_ptr<float>();
    sum.arrived = arrived_.mutable_data_ptr<int>();
    sum.sums = sums.mutable_data_ptr<float>();
    Check(cuda::AddUp(sum, stream_));
    return sums;
  }

  // Ends a recording that failed, so that the stream can be used again.
  static void AbandonCapture(at::cuda::CUDAGraph& graph) {
    try {
      graph.capture_end();
    } catch (const c10::Error&) {  // the failure is being reported already
      cudaGetLastError();
    }
  }

  const c10::DeviceIndex index_;
  const c10::cuda::CUDAStream stream_;
  const c10::MempoolId_t pool_;  // all graphs run one after another, so they share their memory
  at::Tensor arrived_;           // of cuda::Sum
};

}  // namespace

int NumCudaDevices() { return static_cast<int>(c10::cuda::device_count()); }

absl::StatusOr<std::unique_ptr<DeviceBackend>> CreateCudaBackend(const CudaOptions& options) {
  const int devices = NumCudaDevices();
  if (options.index < 0 || options.index >= devices) {
    return absl::NotFoundError(
        absl::StrCat("there is no GPU ", options.index, "; CUDA sees ", devices));
  }
  try {
    return std::unique_ptr<DeviceBackend>(std::make_unique<CudaBackend>(options));
  } catch (...) {
    return StatusOfCurrentException();
  }
}

}  // namespace skipstream
