#include "model/backends/cuda/kernel_backend.h"
#include "tests/model/backends/cuda/kernel_backend_under_test.h"
#include "tests/model/backends/cuda/on_host/cuda_runtime.h"
#include "tests/model/backends/host_backend.h"

namespace skipstream {
namespace {

class KernelsOnHost final : public KernelBackend {
 public:
  explicit KernelsOnHost(Precision precision) : KernelBackend({precision, "asked for"}) {}

  std::string name() const override { return host_.name(); }
  at::Device device() const override { return host_.device(); }
  void Enter() override { host_.Enter(); }
  std::unique_ptr<DeviceMark> Mark() override { return host_.Mark(); }
  std::unique_ptr<DeviceGraph> Capture(const std::function<void()>& body) override {
    return host_.Capture(body);
  }
  at::Tensor HostBuffer(int64_t bytes) override { return host_.HostBuffer(bytes); }
  void Copy(const at::Tensor& to, const at::Tensor& from) override { host_.Copy(to, from); }
  void ReleaseCache() override { host_.ReleaseCache(); }

 private:
  CUstream_st* stream() const override { return nullptr; }

  HostBackend host_;
};

}  // namespace

std::unique_ptr<KernelBackend> MakeKernelBackend(Precision precision, bool /*deterministic*/) {
  return std::make_unique<KernelsOnHost>(precision);
}

void InEveryOrder(const std::function<void()>& body) {
  for (const cuda::Turns turns : {cuda::Turns::kBackward, cuda::Turns::kForward}) {
    cuda::SetTurns(turns);
    body();
  }
}

}  // namespace skipstream
