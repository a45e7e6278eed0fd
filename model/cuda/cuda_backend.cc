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
#include "model/cuda/kernel_backend.h"
#include "model/torch/exception_status.h"

namespace skipstream {
namespace {

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

class CudaBackend final : public KernelBackend {
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

 private:
  CUstream_st* stream() const override { return stream_; }

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
