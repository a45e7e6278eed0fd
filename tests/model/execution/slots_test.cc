#include "model/execution/slots.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A slot of one element with base = eval = `value`.
SlotRegisters Fresh(double value) {
  SlotRegisters slot;
  slot.Reset(1);
  slot.Initialize({.latent = 1.0}, {}, {value}, {});
  return slot;
}

TEST(SlotRegistersTest, InitialUpdateMixesLatentsAndNoise) {
  SlotRegisters slot;
  slot.Reset(2);
  slot.Initialize({.latent = 80.0, .noise = 0.5}, {}, {1.0, -1.0}, {2.0, 4.0});
  EXPECT_THAT(slot.Get(kBase), ElementsAre(81.0, -78.0));
  EXPECT_THAT(slot.Get(kEval), ElementsAre(81.0, -78.0));
}

TEST(SlotRegistersTest, AppliesTheMatrixToTheOldRegisters) {
  SlotRegisters slot = Fresh(3.0);
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {2.0f}));
  SolverStep step;
  step.a[kNextBase] = {0.0, 10.0, 1.0, 0.0, 0.0, 0.0, 0.0};
  step.a[kNextEval] = {100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0};
  ASSERT_TRUE(slot.Apply(step, {0.25}).ok());
  EXPECT_THAT(slot.Get(kBase), ElementsAre(32.0));
  // The old base, not the new one.
  EXPECT_THAT(slot.Get(kEval), ElementsAre(300.25));
  EXPECT_THAT(slot.Get(kDenoised), ElementsAre(2.0));
}

TEST(SlotRegistersTest, PushShiftsTheHistory) {
  SlotRegisters slot = Fresh(1.0);
  SolverStep step;
  step.push = true;
  step.a[kNextBase][kBase] = 1.0;
  step.a[kNextEval][kEval] = 1.0;
  step.a[kPushed][kDenoised] = 1.0;
  for (float d : {1.0f, 2.0f, 3.0f, 4.0f}) {
    ASSERT_TRUE(slot.AddDenoised(true, 1.0, {d}));
    ASSERT_TRUE(slot.Apply(step, {}).ok());
  }
  EXPECT_THAT(slot.Get(kH1), ElementsAre(4.0));
  EXPECT_THAT(slot.Get(kH2), ElementsAre(3.0));
  EXPECT_THAT(slot.Get(kH3), ElementsAre(2.0));
}

TEST(SlotRegistersTest, TermsAddUpWithTheirWeightsInFloat64) {
  SlotRegisters slot = Fresh(0.0);
  ASSERT_TRUE(slot.AddDenoised(true, 3.0, {1.0f}));
  ASSERT_TRUE(slot.AddDenoised(false, -2.0, {1.0f / 3.0f}));
  SolverStep step;
  step.a[kNextBase][kDenoised] = 1.0;
  ASSERT_TRUE(slot.Apply(step, {}).ok());
  EXPECT_THAT(slot.Get(kBase), ElementsAre(3.0 - 2.0 * static_cast<double>(1.0f / 3.0f)));
}

TEST(SlotRegistersTest, DenoisedIsTheLastWholeOneWhileTermsComeIn) {
  SlotRegisters slot = Fresh(0.0);
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {5.0f}));
  EXPECT_FALSE(slot.written(kDenoised));
  SolverStep step;
  step.a[kNextBase][kDenoised] = 1.0;
  ASSERT_TRUE(slot.Apply(step, {}).ok());
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {7.0f}));
  EXPECT_THAT(slot.Get(kDenoised), ElementsAre(5.0));
}

TEST(SlotRegistersTest, ACoefficientOfZeroDoesNotReadItsRegister) {
  SlotRegisters slot = Fresh(1.0);
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {2.0f}));
  SolverStep step;
  step.a[kNextBase][kDenoised] = 1.0;
  step.a[kNextEval][kDenoised] = 1.0;
  // h1..h3 and noise hold nothing; the base of the step before may even be useless.
  ASSERT_TRUE(slot.Apply(step, {}).ok());
  EXPECT_THAT(slot.Get(kBase), ElementsAre(2.0));
}

TEST(SlotRegistersTest, ReadingARegisterNobodyWroteIsAnError) {
  SlotRegisters slot = Fresh(1.0);
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {2.0f}));
  SolverStep step;
  step.a[kNextBase][kH1] = 1.0;
  EXPECT_THAT(std::string(slot.Apply(step, {}).message()), HasSubstr("holds nothing yet"));
  step.a[kNextBase] = {};
  step.a[kNextBase][kNoise] = 1.0;
  EXPECT_FALSE(slot.Apply(step, {}).ok());
}

TEST(SlotRegistersTest, ResetForgetsTheSampleBefore) {
  SlotRegisters slot = Fresh(1.0);
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {2.0f}));
  SolverStep step;
  step.push = true;
  step.a[kPushed][kDenoised] = 1.0;
  ASSERT_TRUE(slot.Apply(step, {}).ok());
  slot.Reset(2);
  for (Register reg : {kBase, kEval, kDenoised, kH1}) EXPECT_FALSE(slot.written(reg));
  slot.Initialize({.latent = 1.0}, {}, {1.0, 2.0}, {});
  EXPECT_THAT(slot.Get(kEval), ElementsAre(1.0, 2.0));
}

TEST(SlotRegistersTest, ValuesThatAreNotFiniteAreReported) {
  SlotRegisters slot = Fresh(1.0);
  EXPECT_FALSE(slot.AddDenoised(true, 1.0, {std::nanf("")}));
  EXPECT_FALSE(slot.AddDenoised(true, 1.0, {std::numeric_limits<float>::infinity()}));
  ASSERT_TRUE(slot.AddDenoised(true, 1.0, {2.0f}));
  SolverStep step;
  step.a[kNextBase][kDenoised] = 1.7e308;
  EXPECT_THAT(std::string(slot.Apply(step, {}).message()), HasSubstr("not finite"));
}

}  // namespace
}  // namespace skipstream
