#include "model/backends/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "ATen/Context.h"
#include "ATen/core/CachingHostAllocator.h"
#include "ATen/cuda/CUDAGraph.h"
#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "c10/cuda/CUDACachingAllocator.h"
#include "c10/cuda/CUDAException.h"
#include "c10/cuda/CUDAFunctions.h"
#include "c10/cuda/CUDAGuard.h"
#include "c10/cuda/CUDAStream.h"
#include "model/backends/exception_status.h"

namespace skipstream {
namespace {

class CudaMark final : public DeviceMark {
 public:
  CudaMark(int device, const c10::cuda::CUDAStream& stream) : device_(device) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    // Waiting threads sleep: the thread that queues needs the core.
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventBlockingSync));
    if (const cudaError_t error = cudaEventRecord(event_, stream); error != cudaSuccess) {
      cudaEventDestroy(event_);
      C10_CUDA_CHECK(error);
    }
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
  // `live` counts graphs.
  CudaGraph(std::unique_ptr<at::cuda::CUDAGraph> graph, std::shared_ptr<int> live)
      : graph_(std::move(graph)), live_(std::move(live)) {
    ++*live_;
  }
  ~CudaGraph() override { --*live_; }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void Replay() override { graph_->replay(); }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
  std::shared_ptr<int> live_;
};

PrecisionChoice ChoosePrecision(const CudaOptions& options) {
  if (options.precision) return {*options.precision, "asked for"};
  if (options.deterministic) return {Precision::kFloat32, "results are to be deterministic"};
  return {Precision::kBFloat16, "this is a GPU"};
}

class CudaBackend final : public KernelBackend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : KernelBackend(ChoosePrecision(options)),
        index_(static_cast<c10::DeviceIndex>(options.index)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, index_)) {
    Enter();
    at::Context& context = at::globalContext();
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
    context.setAllowBF16ReductionCuBLAS(/*allow_reduced_precision=*/false);
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
    try {
      // Libraries choose algorithms and allocate workspaces when they see a shape first. What that
      // leaves in the cache, a recording cannot use.
      for (int i = 0; i < 2; ++i) body();
      ReleaseCache();
      return Record(body);
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const c10::Error& error) {
      // Libraries that find no memory may say that they find no algorithm.
      size_t free = 0;
      size_t total = 0;
      if (cudaMemGetInfo(&free, &total) == cudaSuccess && free < total / 32) {
        TORCH_CHECK_WITH(OutOfMemoryError, false, error.what_without_backtrace());
      }
      throw;
    }
  }

  void Copy(const at::Tensor& to, const at::Tensor& from) override {
    C10_CUDA_CHECK(cudaMemcpyAsync(to.mutable_data_ptr(), from.const_data_ptr(), to.nbytes(),
                                   cudaMemcpyDefault, stream_));
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

  std::unique_ptr<DeviceGraph> Record(const std::function<void()>& body) {
    // A pool of memory cannot be entered again once no graph uses it.
    if (*live_graphs_ == 0) pool_ = at::cuda::graph_pool_handle();
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    try {
      graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      body();
      graph->capture_end();
    } catch (...) {
      AbandonRecording();
      throw;
    }
    return std::make_unique<CudaGraph>(std::move(graph), live_graphs_);
  }

  // Cleans up after a recording that failed: the stream and the allocators work again, and the next
  // recording starts in a new pool.
  void AbandonRecording() {
    cudaGraph_t unfinished = nullptr;
    cudaStreamEndCapture(stream_, &unfinished);
    if (unfinished != nullptr) cudaGraphDestroy(unfinished);
    cudaGetLastError();  // the failure is being reported already
    const auto try_to = [](const auto& end) {
      try {
        end();
      } catch (const c10::Error&) {  // it had not begun, or had ended
        cudaGetLastError();
      }
    };
    try_to([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(index_, pool_); });
    try_to([&] { at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(pool_); });
    pool_ = at::cuda::graph_pool_handle();
  }

  const c10::DeviceIndex index_;
  const c10::cuda::CUDAStream stream_;
  c10::MempoolId_t pool_{};  // all graphs run one after another, so they share their memory
  // Counts the live graphs of the pool; the thread that queues makes and destroys them.
  const std::shared_ptr<int> live_graphs_ = std::make_shared<int>(0);
};

}  // namespace

int NumCudaDevices() { return static_cast<int>(c10::cuda::device_count()); }

absl::StatusOr<std::unique_ptr<KernelBackend>> CreateCudaBackend(const CudaOptions& options) {
  const int devices = NumCudaDevices();
  if (options.index < 0 || options.index >= devices) {
    return absl::NotFoundError(
        absl::StrCat("there is no GPU ", options.index, "; CUDA sees ", devices));
  }
  try {
    return std::unique_ptr<KernelBackend>(std::make_unique<CudaBackend>(options));
  } catch (...) {
    return StatusOfCurrentException();
  }
}

}  // namespace skipstream
