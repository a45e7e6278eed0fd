// Without a GPU the program exits with 77 before any test.
#include <cstdio>
#include <cstdlib>

#include "gtest/gtest.h"
#include "model/backends/cuda/cuda_backend.h"
#include "tests/model/backends/cuda/kernel_backend_under_test.h"

namespace skipstream {
namespace {

class NeedsGpu : public ::testing::Environment {
 public:
  void SetUp() override {
    if (NumCudaDevices() > 0) return;
    std::fprintf(stderr, "SKIPPED: there is no GPU\n");
    std::_Exit(77);
  }
};
// NOLINTNEXTLINE(cppcoreguidelines-owning-memory): GoogleTest owns it
const ::testing::Environment* const kNeedsGpu = ::testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace

std::unique_ptr<KernelBackend> MakeKernelBackend(Precision precision, bool deterministic) {
  auto backend = CreateCudaBackend({.deterministic = deterministic, .precision = precision});
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

void InEveryOrder(const std::function<void()>& body) { body(); }

}  // namespace skipstream
