#include "server/engine/cost_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace skipstream {
namespace {

using ::testing::ElementsAre;

// Best throughput at 4 rows: 2.5 ms per row.
const std::vector<BucketTiming> kProfile = {{1, absl::Milliseconds(6)},
                                            {2, absl::Milliseconds(8)},
                                            {4, absl::Milliseconds(10)},
                                            {8, absl::Milliseconds(24)}};

class CostModelWithProfile : public CostModel {
 public:
  CostModelWithProfile() : CostModel(8) { EXPECT_TRUE(SetProfile(kProfile).ok()); }
};

TEST(CostModelTest, EstimatesAtTheBestMeasuredThroughput) {
  EXPECT_EQ(CostModelWithProfile().EstimateDuration(100, 8), absl::Milliseconds(250));
}

TEST(CostModelTest, BatchFallsIntoTheSmallestBucketThatHoldsIt) {
  const CostModelWithProfile model;
  EXPECT_EQ(model.BucketOf(1), 1);
  EXPECT_EQ(model.BucketOf(3), 4);
  EXPECT_EQ(model.BucketOf(8), 8);
  EXPECT_EQ(model.BatchTime(3), absl::Milliseconds(10));
}

TEST(CostModelTest, WithoutAProfileBucketsAreThePowersOfTwoUpToMaxBatch) {
  EXPECT_THAT(CostModel(12).Buckets(), ElementsAre(1, 2, 4, 8, 12));
  EXPECT_THAT(CostModel(8).Buckets(), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(CostModel(1).Buckets(), ElementsAre(1));
}

TEST(CostModelTest, KnowsNothingWithoutAProfileUntilABatchHasRun) {
  CostModel model(8);
  EXPECT_EQ(model.EstimateDuration(100, 8), absl::ZeroDuration());
  model.Record(4, absl::Milliseconds(40));
  EXPECT_EQ(model.EstimateDuration(100, 8), absl::Seconds(1));
}

TEST(CostModelTest, FollowsWhatBatchesReallyTake) {
  CostModelWithProfile model;
  model.Record(4, absl::Milliseconds(20));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(11));  // a tenth of the way
  for (int i = 0; i < 200; ++i) model.Record(4, absl::Milliseconds(20));
  EXPECT_NEAR(absl::ToDoubleMilliseconds(model.BatchTime(4)), 20.0, 0.01);
  EXPECT_EQ(model.BatchTime(2), absl::Milliseconds(8));
  // 24 / 8 is now the best.
  EXPECT_EQ(model.EstimateDuration(100, 8), absl::Milliseconds(300));
}

TEST(CostModelTest, APauseOfTheMachineCountsLittle) {
  CostModelWithProfile model;
  model.Record(4, absl::Seconds(60));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(13));  // as if it had taken four times as long
  EXPECT_EQ(model.BestBatchTime(4), absl::Milliseconds(10));
  model.Record(4, absl::Milliseconds(5));
  EXPECT_EQ(model.BestBatchTime(4), absl::Milliseconds(5));
}

TEST(CostModelTest, IgnoresTimesThatAreNotPositive) {
  CostModelWithProfile model;
  model.Record(4, absl::ZeroDuration());
  model.Record(4, absl::Milliseconds(-1));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(10));
}

TEST(CostModelTest, EstimateKeepsToTheLargestBatchThereIs) {
  const CostModelWithProfile model;
  EXPECT_EQ(model.EstimateDuration(100, 2), absl::Milliseconds(400));
  // Three rows cost what the bucket of four does.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(model.EstimateDuration(90, 3)), 300.0, 0.001);
}

TEST(CostModelTest, UnknownBucketLiesBetweenItsNeighbours) {
  CostModel model(8);
  EXPECT_EQ(model.BatchTime(4), absl::ZeroDuration());
  model.Record(2, absl::Milliseconds(10));
  EXPECT_EQ(model.BatchTime(1), absl::Milliseconds(10));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(20));
  model.Record(8, absl::Milliseconds(22));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(14));
}

TEST(CostModelTest, KneeIsTheSmallestBatchNearTheBestThroughput) {
  EXPECT_EQ(CostModelWithProfile().Knee(), 4);
  CostModel flat(8);
  ASSERT_TRUE(flat.SetProfile({{1, absl::Milliseconds(10)},
                               {2, absl::Milliseconds(18)},
                               {4, absl::Milliseconds(35)},
                               {8, absl::Milliseconds(66)}})
                  .ok());
  // 100, 111, 114 and 121 rows per second: 2 rows reach 92 % of the best.
  EXPECT_EQ(flat.Knee(), 2);
  EXPECT_EQ(CostModel(8).Knee(), 8) << "without a profile there is none";
}

TEST(CostModelTest, WithoutAProfileAnotherKneeCanBeAssumed) {
  CostModel model(8);
  model.AssumeKnee(2);
  EXPECT_EQ(model.Knee(), 2);
  model.AssumeKnee(99);
  EXPECT_EQ(model.Knee(), 8);
}

TEST(CostModelTest, KneeStaysWhereTheWarmUpFoundIt) {
  CostModelWithProfile model;
  for (int i = 0; i < 100; ++i) model.Record(1, absl::Milliseconds(1));
  EXPECT_EQ(model.Knee(), 4);
}

TEST(CostModelTest, AProfileThatDoesNotFitIsRefusedAndChangesNothing) {
  CostModelWithProfile model;
  const std::vector<std::vector<BucketTiming>> bad = {
      {},
      {{1, absl::Seconds(1)}},
      {{1, absl::Seconds(1)},
       {2, absl::Seconds(1)},
       {4, absl::ZeroDuration()},
       {8, absl::Seconds(1)}},
      {{1, absl::Seconds(1)}, {2, absl::Seconds(1)}, {3, absl::Seconds(1)}, {8, absl::Seconds(1)}}};
  for (const auto& profile : bad) {
    EXPECT_TRUE(absl::IsInvalidArgument(model.SetProfile(profile)));
  }
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(10));
}

TEST(CostModelTest, MayBeAskedWhileItLearns) {
  CostModelWithProfile model;
  std::thread learner([&] {
    for (int i = 0; i < 1000; ++i) model.Record(1 + i % 8, absl::Milliseconds(10));
  });
  for (int i = 0; i < 1000; ++i) EXPECT_GT(model.EstimateDuration(8, 8), absl::ZeroDuration());
  learner.join();
}

}  // namespace
}  // namespace skipstream
