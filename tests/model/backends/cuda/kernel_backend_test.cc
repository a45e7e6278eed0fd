// The kernels of model/backends/cuda against LibTorch's operations, and whole samples against the
// CPU executor's. Built twice: with a GPU's kernels, and with the same kernels on the CPU.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/backends/cuda/kernel_backend_under_test.h"
#include "tests/model/backends/host_backend.h"
#include "tests/model/execution/executor_harness.h"

namespace skipstream {
namespace {

at::Tensor Random(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return at::randn(shape, at::TensorOptions().dtype(at::kFloat)).to(type);
}

struct Shape {
  int64_t batch;
  int64_t size;
  int64_t channels;
  int64_t skip;
  int64_t groups;
};

class KernelBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(5);
    gpu_ = MakeKernelBackend(Precision::kFloat32, /*deterministic=*/true);
    gpu_->Enter();
  }

  at::Tensor ToGpu(const at::Tensor& x) const { return x.defined() ? x.to(gpu_->device()) : x; }
  DeviceFeature ToGpu(const DeviceFeature& x) const { return {ToGpu(x.x), ToGpu(x.sums)}; }

  // Within a rounding of the type, and of a sum in another order.
  static void ExpectClose(const at::Tensor& gpu, const at::Tensor& host, const std::string& what) {
    ASSERT_EQ(gpu.sizes(), host.sizes()) << what;
    ASSERT_EQ(gpu.scalar_type(), host.scalar_type()) << what;
    const at::Tensor a = gpu.cpu().to(at::kDouble);
    const at::Tensor b = host.to(at::kDouble);
    const double rounding = host.scalar_type() == at::kBFloat16 ? 1.0 / 128 : 1e-5;
    const double worst =
        (a.sub(b).abs().div(b.abs().add(1.0))).max().item<double>();  // NaN fails as well
    EXPECT_TRUE(worst <= rounding) << what << ": " << worst;
  }

  HostBackend host_;
  std::unique_ptr<KernelBackend> gpu_;
};

// Channel counts that fill a vector and that do not; images smaller than a tile, and several tiles.
const Shape kShapes[] = {{1, 32, 32, 0, 8},     {3, 16, 64, 32, 24}, {2, 8, 20, 12, 8},
                         {2, 4, 6, 0, 1},       {2, 4, 6, 3, 1},     {5, 2, 128, 128, 32},
                         {1, 16, 384, 256, 32}, {2, 2, 1100, 0, 25}};

TEST_F(KernelBackendTest, NormalizesAsTheHostDoes) {
  for (const Shape& shape : kShapes) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const Resample resample : {Resample::kNone, Resample::kUp, Resample::kDown}) {
        for (const bool modulated : {false, true}) {
          const int64_t channels = shape.channels + shape.skip;
          const at::Tensor conditions = Random({shape.batch, 3 * channels});
          const bool adds = shape.skip == 0 && modulated;
          const at::Tensor added = adds ? conditions.narrow(1, 0, channels) : at::Tensor();
          const DeviceFeature x = host_.Measure(
              Random({shape.batch, shape.size, shape.size, shape.channels}, type), added);
          const DeviceFeature skip = host_.Measure(
              Random({shape.batch, shape.size, shape.size, std::max<int64_t>(shape.skip, 1)}, type),
              {});
          const at::Tensor rho = Random({shape.batch, 5});
          NormTask task;
          task.x = &x;
          task.skip = shape.skip > 0 ? &skip : nullptr;
          task.rho = rho.select(1, 3);
          task.added = added;
          task.weight = Random({channels});
          task.bias = Random({channels});
          if (modulated) {
            task.scale = conditions.narrow(1, channels, channels);
            task.shift = conditions.narrow(1, 2 * channels, channels);
          }
          task.groups = shape.groups;
          task.epsilon = 1e-5f;
          task.silu = resample != Resample::kDown;
          task.resample = resample;
          task.type = type;
          const at::Tensor expected = host_.Normalize(task);

          const DeviceFeature x_gpu = ToGpu(x);
          const DeviceFeature skip_gpu = ToGpu(skip);
          const at::Tensor conditions_gpu = ToGpu(conditions);
          task.x = &x_gpu;
          if (task.skip != nullptr) task.skip = &skip_gpu;
          task.rho = ToGpu(rho).select(1, 3);
          if (adds) task.added = conditions_gpu.narrow(1, 0, channels);
          task.weight = ToGpu(task.weight);
          task.bias = ToGpu(task.bias);
          if (modulated) {
            task.scale = conditions_gpu.narrow(1, channels, channels);
            task.shift = conditions_gpu.narrow(1, 2 * channels, channels);
          }
          InEveryOrder([&] {
            ExpectClose(gpu_->Normalize(task), expected,
                        "channels " + std::to_string(channels) + ", resample " +
                            std::to_string(static_cast<int>(resample)));
          });
        }
      }
    }
  }
}

TEST_F(KernelBackendTest, AddsUpAsTheHostDoes) {
  for (const Shape& shape : kShapes) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const Resample resample : {Resample::kNone, Resample::kUp, Resample::kDown}) {
        const auto features = [&](int64_t size) {
          return Random({shape.batch, size, size, shape.channels}, type);
        };
        const at::Tensor rho = Random({shape.batch, 4});
        SumTask task;
        task.main = features(shape.size);
        task.bias = Random({shape.channels});
        task.shortcut = features(resample == Resample::kUp     ? shape.size / 2
                                 : resample == Resample::kDown ? shape.size * 2
                                                               : shape.size);
        if (resample == Resample::kNone) task.second = features(shape.size);
        task.rho = rho.select(1, 2);
        task.resample = resample;
        task.scale = 0.7f;
        const DeviceFeature expected = host_.Sum(task);
        task.main = ToGpu(task.main);
        task.bias = ToGpu(task.bias);
        task.shortcut = ToGpu(task.shortcut);
        task.second = ToGpu(task.second);
        task.rho = ToGpu(rho).select(1, 2);
        std::vector<at::Tensor> sums;
        InEveryOrder([&] {
          const DeviceFeature sum = gpu_->Sum(task);
          ExpectClose(sum.x, expected.x, "values");
          // Relative to the number of values in a sum.
          const double count = static_cast<double>(shape.size * shape.size);
          ExpectClose(sum.sums.div(count), expected.sums.div(count).to(at::kFloat), "sums");
          sums.push_back(sum.sums.cpu());
        });
        // The order of a sum is fixed; and the second call finds what the first left.
        sums.push_back(gpu_->Sum(task).sums.cpu());
        EXPECT_TRUE(at::equal(sums.front(), sums.back()));
      }
    }
  }
}

TEST_F(KernelBackendTest, MeasuresWithAConstantPerChannel) {
  const at::Tensor x = Random({3, 16, 16, 40});
  const at::Tensor added = Random({1, 40});
  const DeviceFeature expected = host_.Measure(x, added);
  ExpectClose(gpu_->Measure(ToGpu(x), ToGpu(added)).sums.div(256.0), expected.sums.div(256.0),
              "sums");
}

TEST_F(KernelBackendTest, PixelsAreTheHosts) {
  const Extent shape = {3, 16, 16};
  at::Tensor values = Random({3, 16, 16}).to(at::kDouble).mul(2.0);
  const at::Tensor expected = host_.ToImage(values, shape);
  EXPECT_TRUE(at::equal(gpu_->ToImage(ToGpu(values), shape).cpu(), expected));
}

TEST_F(KernelBackendTest, AGraphComputesAnewFromWhatItsMemoryHolds) {
  const at::Tensor x = ToGpu(Random({2, 8, 8, 16}));
  DeviceFeature sum;
  SumTask task;
  task.main = x;
  task.bias = ToGpu(at::zeros({16}));
  at::Tensor result = ToGpu(at::zeros({2, 8, 8, 16}));
  const auto graph = gpu_->Capture([&] { result.copy_(gpu_->Sum(task).x); });
  x.fill_(3.0);
  graph->Replay();
  gpu_->Mark()->Wait();
  EXPECT_TRUE(at::equal(result.cpu(), at::full({2, 8, 8, 16}, 3.0f)));
}

// Float32 of a GPU against the reference kernels of the CPU, and bfloat16 within its bound.
TEST(KernelExecutorTest, ImagesAreTheCpus) {
  std::vector<Sample> samples;
  for (int i = 0; i < 2; ++i) {
    samples.push_back({static_cast<uint64_t>(i), i, MakePlan(Solver::kHeun, 5, 0.9)});
  }
  ExecutorHarness cpu(TestedExecutor::kCpu, {.kernels = Kernels::kReference});
  const auto expected = cpu.RunTogether(samples);
  const auto worst = [&](Precision precision) {
    ExecutorHarness gpu(TestedExecutor::kKernels, {.max_batch = 2, .precision = precision});
    const auto images = gpu.RunTogether(samples);
    double largest = 0.0;
    for (size_t i = 0; i < samples.size(); ++i) {
      for (size_t k = 0; k < expected[i].size(); ++k) {
        largest = std::max(largest, std::abs(images[i][k] - expected[i][k]));
      }
    }
    return largest;
  };
  EXPECT_LT(worst(Precision::kFloat32), 4e-3);
  const double rounded = worst(Precision::kBFloat16);
  EXPECT_GT(rounded, 1e-5);
  EXPECT_LT(rounded, 0.5);
}

}  // namespace
}  // namespace skipstream
