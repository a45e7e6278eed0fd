// Tests every executor, and a few properties of the one on the CPU.
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/backends/cpu/cpu_features.h"
#include "model/diffusion/preconditioning.h"
#include "tests/model/execution/executor_harness.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  EXPECT_FALSE(a.empty());
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

// Requests that share nothing.
std::vector<Sample> MixedSamples() {
  return {{1, 3, MakePlan(Solver::kHeun, 5, 0.7)},
          {2, -1, MakePlan(Solver::kEuler, 4, 1.0)},
          {3, 9, MakePlan(Solver::kHeun, 7, 1.05, 2.0)},
          {4, 0, MakePlan(Solver::kEuler, 1, 1.3)},
          {1, 3, MakePlan(Solver::kEuler, 6, 0.9, 1.0)}};
}

// One step with these terms that makes D the image.
struct GuidedTerm {
  double weight = 1.0;
  bool conditional = true;
};
PlanPtr GuidedPlan(const std::vector<GuidedTerm>& terms) {
  auto plan = std::make_shared<SamplingPlan>();
  plan->initial.latent = 5.0;
  SolverStep step;
  step.sigma = 5.0;
  for (const GuidedTerm& term : terms) {
    step.terms.push_back({.weight = term.weight,
                          .conditional = term.conditional,
                          .conditioning_sigma = 5.0,
                          .coefficients = Preconditioning().At(5.0, 5.0),
                          .rho = std::vector<float>(9, 1.0f)});
  }
  step.a[kNextBase][kDenoised] = 1.0;
  step.a[kNextEval][kDenoised] = 1.0;
  plan->steps.push_back(std::move(step));
  return plan;
}

// A plan whose first step overflows float32.
PlanPtr OverflowingPlan() {
  auto plan = std::make_shared<SamplingPlan>(*MakePlan(Solver::kEuler, 3, 1.0));
  plan->initial.latent = 1e300;
  return plan;
}

class ExecutorTest : public ::testing::TestWithParam<TestedExecutor> {};
INSTANTIATE_TEST_SUITE_P(Executors, ExecutorTest, ::testing::ValuesIn(TestedExecutors()),
                         TestedExecutorName);

TEST(CpuExecutorTest, OptionsOutOfRangeAreNamed) {
  EXPECT_THAT(std::string(CreateCpuExecutor({.max_batch = 0}).status().message()),
              HasSubstr("max_batch"));
  EXPECT_THAT(std::string(CreateCpuExecutor({.num_slots = 0}).status().message()),
              HasSubstr("num_slots"));
  EXPECT_THAT(std::string(CreateCpuExecutor({.threads = -1}).status().message()),
              HasSubstr("threads"));
}

TEST_P(ExecutorTest, AFreshSlotHoldsTheLatentsOfItsSeed) {
  ExecutorHarness harness(GetParam());
  const PlanPtr plan = MakePlan(Solver::kEuler, 2, 1.0);
  const SlotId slot = harness.Allocate({11, 0, plan});
  std::vector<double> expected = NoiseSource(11).Draw(3, 16, 16);
  for (double& v : expected) v *= plan->initial.latent;
  EXPECT_EQ(harness.executor().ReadRegister(slot, kBase), expected);
  EXPECT_EQ(harness.executor().ReadRegister(slot, kEval), expected);
}

TEST(CpuExecutorTest, ASampleInAMixedBatchEqualsTheSampleAlone) {
  ExecutorHarness harness(TestedExecutor::kCpu, {.kernels = Kernels::kReference});
  const std::vector<Sample> samples = MixedSamples();
  const auto together = harness.RunTogether(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    // LibTorch rounds a batch of one differently; a pixel value is 8e-3 wide.
    EXPECT_LT(LargestDifference(together[i], harness.RunAlone(samples[i])), 4e-4) << i;
  }
}

// Runs every sample alone, and at several positions with several neighbours.
void ExpectTheSameBytesWhateverSharesTheBatch(ExecutorOptions options) {
  options.max_batch = 8;
  ExecutorHarness harness(TestedExecutor::kCpu, options);
  const std::vector<Sample> samples = MixedSamples();
  std::vector<std::vector<double>> alone;
  for (const Sample& sample : samples) alone.push_back(harness.RunAlone(sample));
  for (size_t shift = 0; shift < samples.size(); ++shift) {
    std::vector<Sample> order;
    for (size_t i = 0; i < samples.size(); ++i) order.push_back(samples[(i + shift) % 5]);
    if (shift % 2 == 1) order.insert(order.begin(), {77, 5, MakePlan(Solver::kEuler, 5, 0.5)});
    const auto together = harness.RunTogether(order);
    for (size_t i = 0; i < samples.size(); ++i) {
      EXPECT_EQ(together[i + shift % 2], alone[(i + shift) % 5]) << "shift " << shift << " " << i;
    }
  }
}

TEST(CpuExecutorTest, DeterministicModeGivesTheSameBytesWhateverSharesTheBatch) {
  ExpectTheSameBytesWhateverSharesTheBatch({.deterministic = true, .kernels = Kernels::kReference});
}

TEST(CpuExecutorTest, FusedKernelsGiveTheSameBytesWhateverSharesTheBatch) {
  ExecutorHarness harness(TestedExecutor::kCpu);
  if (harness.executor().GetNetworkInfo(harness.network()).form.kernels != Kernels::kFused) {
    GTEST_SKIP() << "this CPU has no fused kernels";
  }
  ExpectTheSameBytesWhateverSharesTheBatch({});
  ExpectTheSameBytesWhateverSharesTheBatch({.precision = std::nullopt});
}

TEST(CpuExecutorTest, TheFormIsTheOneAskedForOrTheFastest) {
  const auto form = [](const ExecutorOptions& options) {
    ExecutorHarness harness(TestedExecutor::kCpu, options);
    return harness.executor().GetNetworkInfo(harness.network()).form;
  };
  EXPECT_EQ(form({.kernels = Kernels::kReference, .precision = std::nullopt}).kernels,
            Kernels::kReference);
  const NetworkForm deterministic = form({.deterministic = true, .precision = std::nullopt});
  EXPECT_EQ(deterministic.precision, Precision::kFloat32);
  EXPECT_NE(deterministic.kernels, Kernels::kAuto);
  EXPECT_EQ(form({.precision = std::nullopt}).precision,
            FasterPrecision(DetectCpuFeatures()).precision);
  const auto executor =
      CreateCpuExecutor({.kernels = Kernels::kReference, .precision = Precision::kBFloat16});
  ASSERT_TRUE(executor.ok());
  EXPECT_EQ((*executor)->LoadNetwork("model/zoo/nouns32.safetensors").status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST_P(ExecutorTest, AFreedSlotServesTheNextSampleAsIfItWereNew) {
  ExecutorHarness used(GetParam(), {.max_batch = 2, .num_slots = 1, .deterministic = true});
  used.RunAlone(MixedSamples()[0]);
  ExecutorHarness fresh(GetParam(), {.max_batch = 2, .num_slots = 1, .deterministic = true});
  EXPECT_EQ(used.RunAlone(MixedSamples()[2]), fresh.RunAlone(MixedSamples()[2]));
}

TEST(CpuExecutorTest, AFreedSlotHoldsNoMemory) {
  ExecutorHarness harness(TestedExecutor::kCpu);
  const SlotId slot = harness.Allocate({11, 0, MakePlan(Solver::kEuler, 2, 1.0)});
  EXPECT_FALSE(harness.executor().ReadRegister(slot, kBase).empty());
  harness.executor().FreeSlot(slot);
  EXPECT_TRUE(harness.executor().ReadRegister(slot, kBase).empty());
}

TEST_P(ExecutorTest, ASlotFreedInFlightCanBeHandedOutAtOnce) {
  ExecutorHarness harness(GetParam(), {.max_batch = 2, .num_slots = 1});
  const Sample first = MixedSamples()[0];
  const Sample second = MixedSamples()[1];
  const SlotId slot = harness.Allocate(first);
  harness.Submit(1, {{slot, first.class_index, first.plan, 0, 0}});
  harness.executor().FreeSlot(slot);
  const std::vector<double> image = harness.RunAlone(second);
  EXPECT_TRUE(harness.listener().WaitForBatches(1)[0].status.ok());
  EXPECT_LT(LargestDifference(image, ExecutorHarness(GetParam()).RunAlone(second)), 4e-4);
}

TEST_P(ExecutorTest, SlotsRunOutAndComeBack) {
  ExecutorHarness harness(GetParam(), {.num_slots = 2});
  const Sample sample = MixedSamples()[0];
  const SlotId first = harness.Allocate(sample);
  harness.Allocate(sample);
  const auto refused = harness.executor().AllocateSlot({harness.network(), 1, sample.plan});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  harness.executor().FreeSlot(first);
  EXPECT_TRUE(harness.executor().AllocateSlot({harness.network(), 1, sample.plan}).ok());
}

TEST_P(ExecutorTest, SlotsThatCannotStartAreRefused) {
  ExecutorHarness harness(GetParam());
  const PlanPtr plan = MakePlan(Solver::kEuler, 2, 1.0);
  EXPECT_EQ(harness.executor().AllocateSlot({99, 1, plan}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(harness.executor().AllocateSlot({harness.network(), 1, nullptr}).status().code(),
            absl::StatusCode::kInvalidArgument);
  auto from_image = std::make_shared<SamplingPlan>(*plan);
  from_image->initial.image = 1.0;
  const auto image = [&](size_t pixels, size_t mask) {
    return std::make_shared<const InitImage>(
        InitImage{std::vector<float>(pixels, 0.5f), std::vector<float>(mask, 1.0f)});
  };
  for (const auto& image :
       {std::shared_ptr<const InitImage>(), image(0, 0), image(256, 0), image(768, 255)}) {
    const auto slot = harness.executor().AllocateSlot({harness.network(), 1, from_image, image});
    EXPECT_EQ(slot.status().code(), absl::StatusCode::kInvalidArgument) << slot.status();
  }
  EXPECT_TRUE(
      harness.executor().AllocateSlot({harness.network(), 1, from_image, image(768, 256)}).ok());
}

TEST_P(ExecutorTest, ARowThatIsNotFiniteFailsAloneAndForGood) {
  ExecutorHarness harness(GetParam());
  const Sample good = MixedSamples()[1];
  const Sample bad = {5, 2, OverflowingPlan()};
  const SlotId good_slot = harness.Allocate(good);
  const SlotId bad_slot = harness.Allocate(bad);
  for (int step = 0; step < 2; ++step) {
    harness.Submit(step, {{bad_slot, bad.class_index, bad.plan, step, 0},
                          {good_slot, good.class_index, good.plan, step, 0}});
  }
  for (const BatchResult& result : harness.listener().WaitForBatches(2)) {
    ASSERT_TRUE(result.status.ok()) << result.status;
    ASSERT_THAT(result.row_status, SizeIs(2));
    EXPECT_EQ(result.row_status[0].code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(result.row_status[0].message()), HasSubstr("not finite at step 0"));
    EXPECT_TRUE(result.row_status[1].ok()) << result.row_status[1];
  }
  harness.executor().ReadOut(10, bad_slot, ReadOutKind::kFinal);
  harness.executor().ReadOut(11, good_slot, ReadOutKind::kPreview);
  const auto read_outs = harness.listener().WaitForReadOuts(2);
  EXPECT_FALSE(read_outs[0].status.ok());
  EXPECT_TRUE(read_outs[1].status.ok()) << read_outs[1].status;
}

TEST_P(ExecutorTest, TermsOfAStepAddUpAcrossBatches) {
  ExecutorHarness harness(GetParam(), {.max_batch = 1, .deterministic = true});
  const PlanPtr with_class = GuidedPlan({{.weight = 1.0, .conditional = true}});
  const PlanPtr without = GuidedPlan({{.weight = 1.0, .conditional = false}});
  const std::vector<double> a = harness.RunAlone({6, 4, with_class});
  const std::vector<double> b = harness.RunAlone({6, 4, without});
  const PlanPtr guided =
      GuidedPlan({{.weight = 2.5, .conditional = true}, {.weight = -1.5, .conditional = false}});
  const SlotId slot = harness.Allocate({6, 4, guided});
  harness.Submit(1, {{slot, 4, guided, 0, 0}});
  harness.executor().ReadOut(2, slot, ReadOutKind::kPreview);
  harness.Submit(3, {{slot, 4, guided, 0, 1}});
  const std::vector<double> image = harness.executor().ReadRegister(slot, kBase);
  ASSERT_EQ(image.size(), a.size());
  for (size_t i = 0; i < image.size(); ++i) {
    ASSERT_DOUBLE_EQ(image[i], 2.5 * a[i] + -1.5 * b[i]) << i;
  }
  // Half a D is no preview.
  EXPECT_EQ(harness.listener().WaitForReadOuts(1)[0].status.code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_P(ExecutorTest, RowsThatDoNotFitFailTheirBatchSayingWhy) {
  ExecutorHarness harness(GetParam(), {.max_batch = 2});
  const PlanPtr plan = MakePlan(Solver::kEuler, 2, 1.0);
  const auto refusal = [&](const StepBatch& batch) {
    const size_t before = harness.listener().WaitForBatches(0).size();
    harness.executor().Submit(batch);
    const BatchResult result = harness.listener().WaitForBatches(before + 1).back();
    EXPECT_TRUE(result.row_status.empty());
    return std::string(result.status.message());
  };
  const auto row_refusal = [&](EvalRow row) {
    row.slot = row.slot == 0 ? harness.Allocate({1, 0, plan}) : row.slot;
    return refusal({1, harness.network(), {row}});
  };
  const NetworkId network = harness.network();
  EXPECT_THAT(refusal({1, 99, {{0, 0, plan, 0, 0}}}), HasSubstr("network 99 is not loaded"));
  EXPECT_THAT(refusal({1, network, {}}), HasSubstr("1 to 2 rows"));
  EXPECT_THAT(refusal({1, network, std::vector<EvalRow>(3)}), HasSubstr("1 to 2 rows"));
  EXPECT_THAT(row_refusal({-1, 0, plan, 0, 0}), HasSubstr("row 0: slot -1"));
  EXPECT_THAT(row_refusal({64, 0, plan, 0, 0}), HasSubstr("slot 64 is not allocated"));
  EXPECT_THAT(row_refusal({63, 0, plan, 0, 0}), HasSubstr("slot 63 is not allocated"));
  EXPECT_THAT(row_refusal({0, 10, plan, 0, 0}), HasSubstr("class 10"));
  EXPECT_THAT(row_refusal({0, -2, plan, 0, 0}), HasSubstr("class -2"));
  EXPECT_THAT(row_refusal({0, 0, nullptr, 0, 0}), HasSubstr("no step"));
  EXPECT_THAT(row_refusal({0, 0, plan, 2, 0}), HasSubstr("no step 2"));
  EXPECT_THAT(row_refusal({0, 0, plan, -1, 0}), HasSubstr("no step -1"));
  EXPECT_THAT(row_refusal({0, 0, plan, 0, 1}), HasSubstr("no term 1"));
  auto short_rho = std::make_shared<SamplingPlan>(*plan);
  short_rho->steps[0].terms[0].rho.pop_back();
  EXPECT_THAT(row_refusal({0, 0, short_rho, 0, 0}), HasSubstr("rho has 8 values for 9 skips"));
  const PlanPtr guided = GuidedPlan({{}, {}});
  EXPECT_THAT(row_refusal({0, 0, guided, 0, 1}), HasSubstr("term 1 comes when term 0 is due"));
  const SlotId slot = harness.Allocate({1, 0, plan});
  EXPECT_THAT(refusal({1, network, {{slot, 0, plan, 0, 0}, {slot, 0, plan, 1, 0}}}),
              HasSubstr("row 1: term 0 comes when term 1 is due"));
  const SlotId other = harness.Allocate({1, 0, guided});
  const PlanPtr copy = GuidedPlan({{}, {}});
  EXPECT_THAT(refusal({1, network, {{other, 0, guided, 0, 0}, {other, 0, copy, 0, 1}}}),
              HasSubstr("two steps in one batch"));
}

TEST_P(ExecutorTest, AFailedBatchDoesNotFailTheBatchesBehindIt) {
  ExecutorHarness harness(GetParam());
  const PlanPtr guided = GuidedPlan({{}, {}});
  const Sample good = MixedSamples()[1];
  const SlotId lost = harness.Allocate({1, 0, guided});
  const SlotId kept = harness.Allocate(good);
  harness.Submit(1, {{lost, 0, guided, 0, 0}, {63, 0, guided, 0, 0}});
  harness.Submit(2, {{lost, 0, guided, 0, 1}, {kept, good.class_index, good.plan, 0, 0}});
  const auto results = harness.listener().WaitForBatches(2);
  EXPECT_FALSE(results[0].status.ok());
  ASSERT_TRUE(results[1].status.ok()) << results[1].status;
  EXPECT_FALSE(results[1].row_status[0].ok());
  EXPECT_TRUE(results[1].row_status[1].ok());
}

TEST_P(ExecutorTest, CompletionsComeInTheOrderOfSubmission) {
  ExecutorHarness harness(GetParam());
  const Sample sample = MixedSamples()[1];
  const SlotId slot = harness.Allocate(sample);
  harness.Submit(1, {{slot, 0, sample.plan, 0, 0}});
  harness.executor().ReadOut(2, slot, ReadOutKind::kPreview);
  harness.Submit(3, {{99, 0, sample.plan, 0, 0}});  // fails, in its turn
  harness.executor().ReadOut(4, slot, ReadOutKind::kFinal);
  harness.Submit(5, {{slot, 0, sample.plan, 1, 0}});
  harness.listener().WaitForBatches(3);
  EXPECT_THAT(harness.listener().order(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_P(ExecutorTest, DestructionReportsEverythingSubmittedBefore) {
  ExecutorHarness harness(GetParam());
  const Sample sample = MixedSamples()[1];
  const SlotId slot = harness.Allocate(sample);
  for (int step = 0; step < 4; ++step) {
    harness.Submit(step, {{slot, 0, sample.plan, step, 0}});
  }
  harness.DestroyExecutor();
  EXPECT_THAT(harness.listener().order(), ElementsAre(0, 1, 2, 3));
}

TEST_P(ExecutorTest, AnUnloadedNetworkFinishesWhatWasSubmitted) {
  ExecutorHarness harness(GetParam());
  const Sample sample = MixedSamples()[1];
  const SlotId slot = harness.Allocate(sample);
  harness.Submit(1, {{slot, 0, sample.plan, 0, 0}});
  harness.executor().UnloadNetwork(harness.network());
  harness.Submit(2, {{slot, 0, sample.plan, 1, 0}});
  const auto results = harness.listener().WaitForBatches(2);
  EXPECT_TRUE(results[0].status.ok()) << results[0].status;
  EXPECT_EQ(results[1].status.code(), absl::StatusCode::kNotFound);
}

TEST_P(ExecutorTest, BatchesReportTheTimeTheyTook) {
  ExecutorHarness harness(GetParam());
  const Sample sample = MixedSamples()[1];
  const SlotId slot = harness.Allocate(sample);
  harness.Submit(1, {{slot, 0, sample.plan, 0, 0}});
  EXPECT_GT(harness.listener().WaitForBatches(1)[0].busy, absl::ZeroDuration());
}

TEST_P(ExecutorTest, PixelsAreRoundedClampedAndInterleaved) {
  ExecutorHarness harness(GetParam());
  auto plan = std::make_shared<SamplingPlan>(*MakePlan(Solver::kEuler, 1, 1.0));
  plan->initial.latent = 1.0;
  std::vector<double> image(3 * 16 * 16, 0.0);
  image[0] = -7.0;         // channel 0 of the first pixel
  image[256] = 1.0 / 255;  // channel 1
  image[512] = 1.5;        // channel 2
  image[17] = -1.0;        // channel 0, row 1, column 1
  const auto slot = harness.executor().AllocateSlot({harness.network(), 0, plan}, image);
  ASSERT_TRUE(slot.ok()) << slot.status();
  harness.executor().ReadOut(1, *slot, ReadOutKind::kFinal);
  const ReadOutResult result = harness.listener().WaitForReadOuts(1)[0];
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.image.height, 16);
  EXPECT_EQ(result.image.width, 16);
  EXPECT_EQ(result.image.channels, 3);
  ASSERT_THAT(result.image.data, SizeIs(3 * 16 * 16));
  EXPECT_EQ(result.image.data[0], 0);
  EXPECT_EQ(result.image.data[1], 128);
  EXPECT_EQ(result.image.data[2], 255);
  EXPECT_EQ(result.image.data[3 * 17], 0);
}

TEST_P(ExecutorTest, ReadOutsOfSlotsThatHoldNothingAreErrors) {
  ExecutorHarness harness(GetParam());
  harness.executor().ReadOut(1, 0, ReadOutKind::kFinal);
  harness.executor().ReadOut(2, 6400, ReadOutKind::kFinal);
  const SlotId slot = harness.Allocate(MixedSamples()[0]);
  harness.executor().ReadOut(3, slot, ReadOutKind::kPreview);
  const auto results = harness.listener().WaitForReadOuts(3);
  EXPECT_EQ(results[0].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(results[1].status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(results[2].status.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(ExecutorTest, WarmUpMeasuresEveryBucketEvenWithoutABudget) {
  ExecutorHarness harness(GetParam(), {.max_batch = 6});
  const auto timings = harness.executor().WarmUp(harness.network(), absl::ZeroDuration());
  ASSERT_TRUE(timings.ok()) << timings.status();
  std::vector<int> rows;
  for (const BucketTiming& timing : *timings) {
    rows.push_back(timing.rows);
    EXPECT_GT(timing.duration, absl::ZeroDuration());
  }
  EXPECT_THAT(rows, ElementsAre(1, 2, 4, 6));
  EXPECT_EQ(harness.executor().WarmUp(99, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_P(ExecutorTest, ABadModelFileIsAnErrorAndTheExecutorGoesOn) {
  ExecutorHarness harness(GetParam());
  const std::string path = WriteTemporaryFile("not a model");
  EXPECT_EQ(harness.executor().LoadNetwork(path).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(harness.RunAlone(MixedSamples()[3]),
              Each(::testing::Truly([](double v) { return std::isfinite(v); })));
}

TEST_P(ExecutorTest, SlotsOfAnotherShapeAreRefused) {
  ExecutorHarness harness(GetParam());
  const auto one_channel = harness.executor().LoadNetwork(kDdpmppVpFixture, "param.");
  ASSERT_TRUE(one_channel.ok()) << one_channel.status();
  const Sample sample = MixedSamples()[1];
  const SlotId slot = harness.Allocate(sample);
  harness.executor().Submit({1, *one_channel, {{slot, 0, sample.plan, 0, 0}}});
  EXPECT_THAT(std::string(harness.listener().WaitForBatches(1)[0].status.message()),
              HasSubstr("does not have the network's shape"));
}

}  // namespace
}  // namespace skipstream
