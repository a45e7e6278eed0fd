// Runs batches element by element and in loops, against an implementation of the registers apart.
#include "model/execution/device_batch.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/backends/cpu/slot_update_loops.h"
#include "model/diffusion/preconditioning.h"
#include "model/diffusion/sampler.h"
#include "tests/model/execution/executor_harness.h"
#include "tests/model/execution/slot_registers.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Extent kShape = {2, 1, 3};
constexpr int kElements = 6;

// A slot as a device has it.
struct DeviceSlot {
  std::vector<double> registers =
      std::vector<double>(kSlotPlanes * kElements, std::numeric_limits<double>::quiet_NaN());

  std::vector<double> Get(Register reg) const {
    return {registers.begin() + reg * kElements, registers.begin() + (reg + 1) * kElements};
  }
  void Set(Register reg, const std::vector<double>& values) {
    std::copy(values.begin(), values.end(), registers.begin() + reg * kElements);
  }
};

// Runs a batch with `f` for the network's output of every row, by the elements of a GPU's kernels
// or by the loops of a CPU.
enum class By { kElements, kLoops };
std::vector<int32_t> Execute(const DeviceBatch& program, const std::vector<float>& f,
                             By by = By::kElements) {
  std::vector<int32_t> failures;
  cpu::UpdateScratch scratch;
  for (const SlotUpdate& update : program.updates) {
    int32_t seen = 0;
    if (by == By::kLoops && update.registers != nullptr) {
      failures.push_back(
          cpu::UpdateSlot(update, program.rows.data(), f.data(), kShape.channels, kShape, scratch));
      continue;
    }
    for (int i = 0; update.registers != nullptr && i < kElements; ++i) {
      seen |= UpdateElement(update, program.rows.data(), f.data(), kShape.channels, kShape, i);
    }
    failures.push_back(seen);
  }
  return failures;
}

std::vector<double> Get(const SlotRegisters& registers, Register reg) {
  const absl::Span<const double> contents = registers.Get(reg);
  return {contents.begin(), contents.end()};
}

// Every solver's whole plan, with guidance, a mask and fresh noise: the device's registers after
// every step are those of a SlotRegisters that gets the same D.
class EverySolverTest : public ::testing::TestWithParam<std::tuple<Solver, By>> {};
INSTANTIATE_TEST_SUITE_P(Solvers, EverySolverTest,
                         ::testing::Combine(::testing::ValuesIn(AllSolvers()),
                                            ::testing::Values(By::kElements, By::kLoops)),
                         [](const auto& info) {
                           return std::string(SolverName(std::get<0>(info.param))) +
                                  (std::get<1>(info.param) == By::kElements ? "ByElements"
                                                                            : "ByLoops");
                         });

TEST_P(EverySolverTest, StepsAreThoseOfTheReferenceRegisters) {
  const auto [solver, by] = GetParam();
  SamplingParams params;
  params.solver = solver;
  params.levels = *SpacedLevels(KarrasSpacing{}, 6, 0.002, 80.0);
  params.num_skips = 3;
  params.guidance.scale = 2.0;
  params.guidance.sigma_hi = 20.0;
  params.churn.s_churn = solver == Solver::kHeun ? 2.0 : 0.0;
  const auto compiled = CompilePlan(params);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  const auto plan = std::make_shared<const SamplingPlan>(*compiled);

  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  const auto draw = [&](int count) {
    std::vector<float> values(count);
    for (float& v : values) v = normal(generator);
    return values;
  };
  const std::vector<float> image = draw(kElements);
  const std::vector<float> mask = {0.0f, 0.25f, 1.0f};
  const std::vector<float> start = draw(kElements);

  SlotRegisters expected;
  expected.Reset(kElements);
  expected.Initialize({.latent = 1.0}, {}, std::vector<double>(start.begin(), start.end()), {});
  DeviceSlot slot;
  slot.Set(kBase, Get(expected, kBase));
  slot.Set(kEval, Get(expected, kEval));
  WrittenRegisters written;
  written.Reset();

  for (int index = 0; index < plan->nfe(); ++index) {
    const SolverStep& step = plan->steps[index];
    const auto terms = static_cast<int>(step.terms.size());
    const std::vector<float> noise = draw(kElements);
    std::vector<EvalRow> rows;
    std::vector<PlacedRow> placed;
    for (int term = 0; term < terms; ++term) rows.push_back({7, 1, plan, index, term});
    for (const EvalRow& row : rows) {
      placed.push_back({&row, placed.size(), slot.registers.data(), image.data(), mask.data(),
                        row.term + 1 == terms && step.uses_noise ? noise.data() : nullptr});
    }
    const int size = BucketFor(terms, 4);
    const DeviceBatch program = MakeDeviceBatch(placed, size, kShape, 3);
    const std::vector<float> f = draw(size * kElements);  // [rows, H * W, C]
    for (int term = 0; term < terms; ++term) {
      const DenoiserCoefficients& c = step.terms[term].coefficients;
      std::vector<float> denoised;
      for (int i = 0; i < kElements; ++i) {
        const float raw = f[(term * kShape.pixels() + i % kShape.pixels()) * kShape.channels +
                            i / kShape.pixels()];
        denoised.push_back(c.c_skip * static_cast<float>(expected.Get(kEval)[i]) + c.c_out * raw);
      }
      ASSERT_TRUE(expected.AddDenoised(term == 0, step.terms[term].weight, denoised));
    }
    expected.MaskDenoised(mask, image);
    ASSERT_TRUE(expected.Apply(step, std::vector<double>(noise.begin(), noise.end())).ok());
    ASSERT_TRUE(written.Apply(step).ok());

    EXPECT_THAT(Execute(program, f, by), ::testing::Each(0));
    for (const Register reg : {kBase, kEval, kDenoised, kH1, kH2, kH3}) {
      ASSERT_EQ(written.Has(reg), expected.written(reg)) << index << " " << reg;
      if (!expected.written(reg)) continue;
      const std::vector<double> values = Get(expected, reg);
      const std::vector<double> got = slot.Get(reg);
      for (int i = 0; i < kElements; ++i) {
        const std::string where =
            absl::StrCat("step ", index, ", register ", int{reg}, ", element ", i);
        if (by == By::kLoops) {
          ASSERT_EQ(got[i], values[i]) << where;
        } else {  // compilers may fuse a product and a sum
          ASSERT_NEAR(got[i], values[i], 1e-5 * std::max(1.0, std::abs(values[i]))) << where;
        }
      }
    }
  }
}

TEST(DeviceBatchTest, RowsOfASlotBecomeNeighboursAndOneUpdate) {
  const PlanPtr plan = [] {
    auto guided = std::make_shared<SamplingPlan>();
    SolverStep step;
    step.sigma = 1.0;
    step.terms = {
        {.weight = 2.0, .conditioning_sigma = 1.0, .rho = {0.5f, 0.6f}},
        {.weight = -1.0, .conditional = false, .conditioning_sigma = 1.0, .rho = {0.7f, 0.8f}}};
    step.a[kNextBase][kDenoised] = step.a[kNextEval][kDenoised] = 1.0;
    guided->steps.push_back(step);
    return guided;
  }();
  const std::vector<EvalRow> rows = {{4, 9, plan, 0, 0}, {2, 8, plan, 0, 1}, {4, 9, plan, 0, 1}};
  DeviceSlot four;
  DeviceSlot two;
  std::vector<PlacedRow> placed;
  for (const EvalRow& row : rows) {
    placed.push_back(
        {&row, placed.size(), row.slot == 4 ? four.registers.data() : two.registers.data()});
  }
  GroupBySlot(placed);
  std::vector<size_t> order;
  for (const PlacedRow& row : placed) order.push_back(row.index);
  EXPECT_THAT(order, ElementsAre(0, 2, 1));

  const DeviceBatch program = MakeDeviceBatch(placed, 4, kShape, 2);
  ASSERT_EQ(program.num_updates, 2);
  EXPECT_EQ(program.updates[0].registers, four.registers.data());
  EXPECT_EQ(program.updates[0].num_rows, 2);
  EXPECT_TRUE(program.updates[0].begins && program.updates[0].applies);
  EXPECT_EQ(program.updates[1].first_row, 2);
  EXPECT_FALSE(program.updates[1].begins);  // the first term came in an earlier batch
  EXPECT_TRUE(program.updates[1].applies);
  EXPECT_EQ(program.rows[0].class_index, 9);
  EXPECT_EQ(program.rows[1].class_index, -1);
  EXPECT_EQ(program.rows[1].weight, -1.0);
  EXPECT_THAT(program.rho, ElementsAre(0.5f, 0.6f, 0.7f, 0.8f, 0.7f, 0.8f, 1.0f, 1.0f));
  // Rows that fill the batch do nothing.
  EXPECT_EQ(program.rows[3].eval, nullptr);
  EXPECT_EQ(program.updates[2].registers, nullptr);
  EXPECT_EQ(program.updates[3].registers, nullptr);
}

TEST(DeviceBatchTest, WhatIsNotFiniteIsSeen) {
  auto plan = std::make_shared<SamplingPlan>();
  SolverStep step;
  step.sigma = 1.0;
  step.terms = {
      {.conditioning_sigma = 1.0, .coefficients = Preconditioning().At(1.0, 1.0), .rho = {1.0f}}};
  step.a[kNextBase][kDenoised] = step.a[kNextEval][kDenoised] = 1e308;
  plan->steps.push_back(step);
  const EvalRow row = {0, -1, plan, 0, 0};
  for (const By by : {By::kElements, By::kLoops}) {
    const auto failures = [&](float f) {
      DeviceSlot slot;
      slot.Set(kEval, std::vector<double>(kElements, 0.0));
      const PlacedRow placed = {&row, 0, slot.registers.data()};
      const DeviceBatch program = MakeDeviceBatch({&placed, 1}, 1, kShape, 1);
      return Execute(program, std::vector<float>(kElements, f), by)[0];
    };
    EXPECT_EQ(failures(1.0f), 0);
    EXPECT_EQ(failures(1e5f), kStateNotFinite);
    for (const float f :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      EXPECT_TRUE(failures(f) & kDenoisedNotFinite) << f;
    }
  }
}

TEST(DeviceBatchTest, AStepThatReadsWhatNobodyWroteIsRefused) {
  WrittenRegisters written;
  written.Reset();
  SolverStep step;
  step.a[kNextBase][kH1] = 0.5;
  EXPECT_THAT(std::string(written.Apply(step).message()), HasSubstr("register 3"));
  step.a[kNextBase][kH1] = 0.0;
  step.a[kPushed][kH2] = 1.0;  // without a push that is not computed
  EXPECT_TRUE(written.Apply(step).ok());
  step.a[kNextBase][kNoise] = 1.0;
  EXPECT_FALSE(written.Apply(step).ok());
  step.uses_noise = true;
  EXPECT_TRUE(written.Apply(step).ok());
}

TEST(DeviceBatchTest, BucketsArePowersOfTwoAndTheLargest) {
  std::vector<int> buckets;
  for (const int rows : {1, 2, 3, 5, 6, 7, 8}) buckets.push_back(BucketFor(rows, 6));
  EXPECT_THAT(buckets, ElementsAre(1, 2, 4, 6, 6, 6, 6));
  std::vector<int> down;
  for (int bucket = 6; bucket > 0; bucket = SmallerBucket(bucket)) down.push_back(bucket);
  EXPECT_THAT(down, ElementsAre(6, 4, 2, 1));
}

}  // namespace
}  // namespace skipstream
