// Tests an executor whose backend records graphs and works on its own: sizes of graphs, running out
// of memory, a lost device. executor_test.cc tests what holds with every backend.
#include "model/execution/backend_executor.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/backends/host_backend.h"
#include "tests/model/execution/executor_harness.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<BackendExecutor> Make(const std::shared_ptr<HostDevice>& device,
                                      const ExecutorOptions& options) {
  auto executor = BackendExecutor::Create(
      options, std::make_unique<HostBackend>(device, options.precision, options.deterministic));
  EXPECT_TRUE(executor.ok()) << executor.status();
  return *std::move(executor);
}

std::vector<Sample> Samples(int count) {
  std::vector<Sample> samples;
  for (int i = 0; i < count; ++i) {
    samples.push_back({static_cast<uint64_t>(i), i % 10,
                       MakePlan(i % 2 == 0 ? Solver::kHeun : Solver::kEuler, 7 - i % 2 * 2, 0.9)});
  }
  return samples;
}

double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST(RecordingBackendTest, AgreesWithTheExecutorOnTheCpu) {
  ExecutorHarness cpu(TestedExecutor::kCpu, {.kernels = Kernels::kReference});
  ExecutorHarness device(TestedExecutor::kHost);
  const std::vector<Sample> samples = Samples(5);
  const auto expected = cpu.RunTogether(samples);
  const auto images = device.RunTogether(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_LT(LargestDifference(images[i], expected[i]), 1e-3) << i;
  }
}

TEST(RecordingBackendTest, EachSizeOfBatchIsRecordedWhenTheNetworkIsLoaded) {
  const auto device = std::make_shared<HostDevice>();
  ExecutorHarness harness(Make(device, {.max_batch = 6}));
  EXPECT_EQ(device->captures, 4);   // for 6, 4, 2 and 1
  harness.RunTogether(Samples(3));  // 5 batches of 3, 2 of 2
  EXPECT_EQ(device->captures, 4);
  EXPECT_EQ(device->replays, 7);
}

TEST(RecordingBackendTest, DeterministicEvaluationsHaveOneSize) {
  const auto device = std::make_shared<HostDevice>();
  ExecutorHarness harness(Make(device, {.max_batch = 6, .deterministic = true}));
  harness.RunTogether(Samples(3));
  EXPECT_EQ(device->captures, 1);
}

TEST(RecordingBackendTest, TwoEvaluationsMayBeQueued) {
  EXPECT_EQ(Make(std::make_shared<HostDevice>(), {})->max_in_flight(), 2);
}

TEST(RecordingBackendTest, WithoutMemoryForABatchSmallerOnesDoItsWork) {
  const std::vector<Sample> samples = Samples(7);
  ExecutorHarness roomy(TestedExecutor::kHost, {.max_batch = 8});
  const auto expected = roomy.RunTogether(samples);
  const auto device = std::make_shared<HostDevice>();
  device->memory_for_rows = 3;
  ExecutorHarness tight(Make(device, {.max_batch = 8}));
  const auto images = tight.RunTogether(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_LT(LargestDifference(images[i], expected[i]), 1e-3) << i;
  }
  EXPECT_EQ(tight.executor().max_batch(), 8);  // what callers count on stays
  const auto timings = tight.executor().WarmUp(tight.network(), absl::ZeroDuration());
  ASSERT_TRUE(timings.ok()) << timings.status();
  EXPECT_EQ(timings->back().rows, 8);
}

TEST(RecordingBackendTest, ALargerGraphStandsInForOneThereIsNoMemoryFor) {
  const std::vector<Sample> samples = Samples(3);
  ExecutorHarness roomy(TestedExecutor::kHost, {.max_batch = 8});
  const auto expected = roomy.RunTogether(samples);
  const auto device = std::make_shared<HostDevice>();
  device->no_memory_for_rows = 4;
  ExecutorHarness tight(Make(device, {.max_batch = 8}));
  EXPECT_EQ(device->captures, 3);  // for 8, 2 and 1
  const auto images = tight.RunTogether(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_LT(LargestDifference(images[i], expected[i]), 1e-3) << i;
  }
  EXPECT_EQ(device->captures, 3);  // it is not tried again
}

TEST(RecordingBackendTest, WithoutMemoryForASingleRowANetworkIsNotLoaded) {
  const auto device = std::make_shared<HostDevice>();
  const auto executor = Make(device, {.max_batch = 4});
  device->memory_for_rows = 0;
  EXPECT_EQ(executor->LoadNetwork(kDdpmppEdmFixture, "param.").status().code(),
            absl::StatusCode::kResourceExhausted);
  device->memory_for_rows = 4;
  EXPECT_TRUE(executor->LoadNetwork(kDdpmppEdmFixture, "param.").ok());
}

TEST(RecordingBackendTest, ALostDeviceFailsWhatWasQueuedAndItsReadOuts) {
  const auto device = std::make_shared<HostDevice>();
  ExecutorHarness harness(Make(device, {.max_batch = 4}));
  const Sample sample = Samples(1)[0];
  const SlotId slot = harness.Allocate(sample);
  device->lost = true;
  harness.Submit(1, {{slot, 0, sample.plan, 0, 0}});
  harness.executor().ReadOut(2, slot, ReadOutKind::kFinal);
  const BatchResult result = harness.listener().WaitForBatches(1)[0];
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("the device is lost"));
  EXPECT_FALSE(harness.listener().WaitForReadOuts(1)[0].status.ok());
  device->lost = false;
  harness.RunAlone(sample);
  EXPECT_TRUE(harness.listener().WaitForBatches(2)[1].status.ok());
}

TEST(RecordingBackendTest, NetworksComeAndGo) {
  const auto device = std::make_shared<HostDevice>();
  ExecutorHarness harness(Make(device, {.max_batch = 2}));
  const Sample sample = Samples(1)[0];
  const std::vector<double> expected = harness.RunAlone(sample);
  harness.executor().UnloadNetwork(harness.network());
  for (int round = 0; round < 3; ++round) {
    const NetworkId network = harness.executor().LoadNetwork(kDdpmppEdmFixture, "param.").value();
    const auto slot = harness.executor().AllocateSlot({network, sample.seed, sample.plan});
    ASSERT_TRUE(slot.ok()) << slot.status();
    for (int step = 0; step < sample.plan->nfe(); ++step) {
      harness.executor().Submit({1, network, {{*slot, sample.class_index, sample.plan, step, 0}}});
    }
    EXPECT_EQ(harness.executor().ReadRegister(*slot, kBase), expected);
    harness.executor().FreeSlot(*slot);
    harness.executor().UnloadNetwork(network);
  }
  EXPECT_EQ(device->captures, 2 * 4);
}

TEST(RecordingBackendTest, OptionsADeviceCannotFollowAreRefused) {
  const auto create = [](const ExecutorOptions& options) {
    return BackendExecutor::Create(options, std::make_unique<HostBackend>()).status();
  };
  EXPECT_THAT(std::string(create({.kernels = Kernels::kReference}).message()),
              HasSubstr("reference kernels run on the CPU"));
  EXPECT_THAT(std::string(create({.max_batch = 0}).message()), HasSubstr("max_batch"));
}

TEST(RecordingBackendTest, PrecisionIsBFloat16UnlessBytesMustNotDiffer) {
  const auto form = [](const ExecutorOptions& options) {
    ExecutorHarness harness(TestedExecutor::kHost, options);
    return harness.executor().GetNetworkInfo(harness.network()).form;
  };
  EXPECT_EQ(form({.precision = std::nullopt}).precision, Precision::kBFloat16);
  EXPECT_EQ(form({.deterministic = true, .precision = std::nullopt}).precision,
            Precision::kFloat32);
  EXPECT_EQ(form({.precision = std::nullopt}).kernels, Kernels::kFused);
}

TEST(RecordingBackendTest, ANetworkWithoutADeviceFormIsRefusedByName) {
  const auto executor = Make(std::make_shared<HostDevice>(), {});
  const absl::Status status = executor->LoadNetwork(kNcsnppVeFixture, "param.").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("encoder_type"));
}

}  // namespace
}  // namespace skipstream
