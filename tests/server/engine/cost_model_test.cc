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

TEST(CostModelTest, EstimatesAtTheBestMeasuredThroughput) {
  EXPECT_EQ(CostModel(kProfile, 8).EstimateDuration(100), absl::Milliseconds(250));
}

TEST(CostModelTest, BatchFallsIntoTheSmallestBucketThatHoldsIt) {
  const CostModel model(kProfile, 8);
  EXPECT_EQ(model.BucketOf(1), 1);
  EXPECT_EQ(model.BucketOf(3), 4);
  EXPECT_EQ(model.BucketOf(8), 8);
  EXPECT_EQ(model.BatchTime(3), absl::Milliseconds(10));
}

TEST(CostModelTest, WithoutAProfileBucketsAreThePowersOfTwoUpToMaxBatch) {
  EXPECT_THAT(CostModel({}, 12).Buckets(), ElementsAre(1, 2, 4, 8, 12));
  EXPECT_THAT(CostModel({}, 8).Buckets(), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(CostModel({}, 1).Buckets(), ElementsAre(1));
}

TEST(CostModelTest, KnowsNothingWithoutAProfileUntilABatchHasRun) {
  CostModel model({}, 8);
  EXPECT_EQ(model.EstimateDuration(100), absl::ZeroDuration());
  model.Record(4, absl::Milliseconds(40));
  EXPECT_EQ(model.EstimateDuration(100), absl::Seconds(1));
}

TEST(CostModelTest, FollowsWhatBatchesReallyTake) {
  CostModel model(kProfile, 8);
  model.Record(4, absl::Milliseconds(20));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(11));  // a tenth of the way
  for (int i = 0; i < 200; ++i) model.Record(4, absl::Milliseconds(20));
  EXPECT_NEAR(absl::ToDoubleMilliseconds(model.BatchTime(4)), 20.0, 0.01);
  EXPECT_EQ(model.BatchTime(2), absl::Milliseconds(8));
  // 24 / 8 is now the best.
  EXPECT_EQ(model.EstimateDuration(100), absl::Milliseconds(300));
}

TEST(CostModelTest, IgnoresTimesThatAreNotPositive) {
  CostModel model(kProfile, 8);
  model.Record(4, absl::ZeroDuration());
  model.Record(4, absl::Milliseconds(-1));
  EXPECT_EQ(model.BatchTime(4), absl::Milliseconds(10));
}

TEST(CostModelTest, LoneSampleIsBoundByItsStepsInSequence) {
  EXPECT_EQ(CostModel(kProfile, 8).EstimateRequest(0, 1, 9), absl::Milliseconds(9 * 6));
}

TEST(CostModelTest, LargeRequestIsBoundByThroughputAndComesAfterWhatIsAhead) {
  const CostModel model(kProfile, 8);
  EXPECT_EQ(model.EstimateRequest(40, 8, 10), absl::Milliseconds(100 + 10 * 24));
  EXPECT_EQ(model.EstimateRequest(0, 80, 10), absl::Milliseconds(2000));
}

TEST(CostModelTest, MayBeAskedWhileItLearns) {
  CostModel model(kProfile, 8);
  std::thread learner([&] {
    for (int i = 0; i < 1000; ++i) model.Record(1 + i % 8, absl::Milliseconds(10));
  });
  for (int i = 0; i < 1000; ++i) EXPECT_GT(model.EstimateDuration(8), absl::ZeroDuration());
  learner.join();
}

}  // namespace
}  // namespace skipstream
