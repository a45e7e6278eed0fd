#include "server/engine/completion_estimate.h"

#include <gtest/gtest.h>

namespace skipstream {
namespace {

constexpr absl::Duration kNothing = absl::ZeroDuration();

absl::Duration ms(int count) { return absl::Milliseconds(count); }

class CompletionEstimateTest : public ::testing::Test {
 protected:
  CompletionEstimateTest() {
    EXPECT_TRUE(cost_.SetProfile({{1, ms(6)}, {2, ms(8)}, {4, ms(10)}}).ok());
  }
  CostModel cost_{4};
};

TEST_F(CompletionEstimateTest, LoneSampleTakesItsRowsOneAfterTheOther) {
  EXPECT_EQ(EstimateCompletion(cost_, 4, kNothing, {}, {.samples = 1, .rows_per_sample = 9}),
            9 * ms(6));
}

TEST_F(CompletionEstimateTest, SamplesOfARequestShareBatches) {
  EXPECT_EQ(EstimateCompletion(cost_, 4, kNothing, {}, {.samples = 2, .rows_per_sample = 9}),
            9 * ms(8));
  EXPECT_EQ(EstimateCompletion(cost_, 4, kNothing, {}, {.samples = 4, .rows_per_sample = 9}),
            9 * ms(10));
}

TEST_F(CompletionEstimateTest, MoreSamplesThanPlacesTakeTurns) {
  EXPECT_EQ(EstimateCompletion(cost_, 4, kNothing, {}, {.samples = 9, .rows_per_sample = 5}),
            15 * ms(10));
}

TEST_F(CompletionEstimateTest, FreePlacesAreUsedAtOnceThoughOthersAreAhead) {
  // One is ahead; three places are free.
  EXPECT_EQ(EstimateCompletion(cost_, 4, kNothing, {100}, {.samples = 1, .rows_per_sample = 9}),
            9 * ms(8));
}

TEST_F(CompletionEstimateTest, FullBatchIsWaitedFor) {
  // The first place is free after 3 batches.
  EXPECT_EQ(
      EstimateCompletion(cost_, 4, kNothing, {3, 50, 50, 50}, {.samples = 1, .rows_per_sample = 9}),
      12 * ms(10));
}

TEST_F(CompletionEstimateTest, WhatIsBeforeComesOnTop) {
  EXPECT_EQ(EstimateCompletion(cost_, 4, ms(500), {}, {.samples = 1, .rows_per_sample = 9}),
            ms(500) + 9 * ms(6));
}

TEST_F(CompletionEstimateTest, GuidedEvaluationIsOneBatchOfTwoRows) {
  EXPECT_EQ(EstimateCompletion(cost_, 4, kNothing, {},
                               {.samples = 1, .rows_per_sample = 18, .rows_per_step = 2}),
            9 * ms(8));
  EXPECT_EQ(EstimateCompletion(cost_, 1, kNothing, {},
                               {.samples = 1, .rows_per_sample = 18, .rows_per_step = 2}),
            18 * ms(6));
}

TEST_F(CompletionEstimateTest, NothingIsKnownWithoutACost) {
  EXPECT_EQ(
      EstimateCompletion(CostModel(4), 4, kNothing, {1, 2}, {.samples = 3, .rows_per_sample = 9}),
      kNothing);
}

}  // namespace
}  // namespace skipstream
