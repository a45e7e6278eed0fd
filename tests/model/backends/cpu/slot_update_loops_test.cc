#include "model/backends/cpu/slot_update_loops.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

// A slot of one element. D of a row is the network's output: c_skip is 0, c_out 1.
class SlotUpdateLoopsTest : public ::testing::Test {
 protected:
  SlotUpdateLoopsTest() {
    registers_[kBase] = registers_[kEval] = 3.0;
    update_.registers = registers_.data();
    update_.begins = update_.applies = true;
  }

  // One row for each output of the network, with these weights.
  int32_t Run(const std::vector<float>& outputs, std::vector<double> weights = {}) {
    weights.resize(outputs.size(), 1.0);
    std::vector<RowDescriptor> rows;
    for (const double weight : weights) rows.push_back({.weight = weight, .c_out = 1.0f});
    update_.num_rows = static_cast<int32_t>(rows.size());
    return cpu::UpdateSlot(update_, rows.data(), outputs.data(), 1, {1, 1, 1}, scratch_);
  }

  std::vector<double> registers_ = std::vector<double>(kSlotPlanes, kNothing);
  SlotUpdate update_;
  cpu::UpdateScratch scratch_;
};

TEST_F(SlotUpdateLoopsTest, AppliesTheMatrixToTheOldRegisters) {
  const float noise = 0.25f;
  update_.noise = &noise;
  update_.a[kNextBase][kEval] = 10.0;
  update_.a[kNextBase][kDenoised] = 1.0;
  update_.a[kNextEval][kBase] = 100.0;
  update_.a[kNextEval][kNoise] = 1.0;
  EXPECT_EQ(Run({2.0f}), 0);
  EXPECT_EQ(registers_[kBase], 32.0);
  EXPECT_EQ(registers_[kEval], 300.25);  // of the old base, not the new one
  EXPECT_EQ(registers_[kDenoised], 2.0);
}

TEST_F(SlotUpdateLoopsTest, APushShiftsTheHistory) {
  update_.push = true;
  update_.a[kNextBase][kBase] = update_.a[kNextEval][kEval] = update_.a[kPushed][kDenoised] = 1.0;
  for (const float d : {1.0f, 2.0f, 3.0f, 4.0f}) EXPECT_EQ(Run({d}), 0);
  EXPECT_THAT((std::vector<double>{registers_[kH1], registers_[kH2], registers_[kH3]}),
              ElementsAre(4.0, 3.0, 2.0));
}

TEST_F(SlotUpdateLoopsTest, TermsAddUpWithTheirWeightsInFloat64) {
  update_.a[kNextBase][kDenoised] = update_.a[kNextEval][kDenoised] = 1.0;
  EXPECT_EQ(Run({1.0f, 1.0f / 3.0f}, {3.0, -2.0}), 0);
  EXPECT_EQ(registers_[kBase], 3.0 - 2.0 * static_cast<double>(1.0f / 3.0f));
}

TEST_F(SlotUpdateLoopsTest, TermsMayComeInSeveralBatchesAndLeaveDUntilTheLast) {
  update_.a[kNextBase][kDenoised] = update_.a[kNextEval][kEval] = 1.0;
  EXPECT_EQ(Run({5.0f}), 0);
  update_.applies = false;
  EXPECT_EQ(Run({7.0f}, {3.0}), 0);
  EXPECT_EQ(registers_[kDenoised], 5.0);
  update_.begins = false;
  update_.applies = true;
  EXPECT_EQ(Run({1.0f}, {-2.0}), 0);
  EXPECT_EQ(registers_[kDenoised], 19.0);
}

TEST_F(SlotUpdateLoopsTest, ACoefficientOfZeroDoesNotReadItsRegister) {
  update_.a[kNextBase][kDenoised] = update_.a[kNextEval][kDenoised] = 1.0;
  registers_[kBase] = kNothing;
  EXPECT_EQ(Run({2.0f}), 0);
  EXPECT_EQ(registers_[kBase], 2.0);
}

TEST_F(SlotUpdateLoopsTest, AMaskKeepsTheImageWhereItIsZero) {
  const float image = 8.0f;
  const float mask = 0.25f;
  update_.image = &image;
  update_.mask = &mask;
  update_.a[kNextBase][kDenoised] = update_.a[kNextEval][kEval] = 1.0;
  EXPECT_EQ(Run({4.0f}), 0);
  EXPECT_EQ(registers_[kBase], 0.25 * 4.0 + 0.75 * 8.0);
}

TEST_F(SlotUpdateLoopsTest, ValuesThatAreNotFiniteAreReported) {
  update_.a[kNextBase][kDenoised] = 1e308;
  update_.a[kNextEval][kEval] = 1.0;
  EXPECT_EQ(Run({1.0f}), 0);
  EXPECT_EQ(Run({1e5f}), kStateNotFinite);
  EXPECT_TRUE(Run({std::nanf("")}) & kDenoisedNotFinite);
  EXPECT_TRUE(Run({-std::numeric_limits<float>::infinity()}) & kDenoisedNotFinite);
}

TEST(GatherRowTest, PlanesBecomePixelsScaledByCIn) {
  const std::vector<double> eval = {1.0, 2.0, 3.0, 10.0, 20.0, 30.0};  // [2, 1, 3]
  std::vector<float> x(6);
  cpu::GatherRow({.eval = eval.data(), .c_in = 0.5f}, {2, 1, 3}, x.data());
  EXPECT_THAT(x, ElementsAre(0.5f, 5.0f, 1.0f, 10.0f, 1.5f, 15.0f));
  cpu::GatherRow({}, {2, 1, 3}, x.data());
  EXPECT_THAT(x, ::testing::Each(0.0f));
}

}  // namespace
}  // namespace skipstream
