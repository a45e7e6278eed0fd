#include "model/sampler/sigma_schedule.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// The message when refused; empty when accepted.
std::string KarrasError(int n, double sigma_min, double sigma_max, double exponent) {
  const absl::Status status = KarrasLevels(n, sigma_min, sigma_max, exponent).status();
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

std::string LevelsError(const SigmaLevels& levels) {
  const absl::Status status = ValidateLevels(levels);
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(KarrasLevelsTest, FollowsTheFormula) {
  // EDM Eq. 5, worked out with 50 digits.
  const SigmaLevels expected = {80,
                                57.58598472124816,
                                40.785573796507961,
                                28.374584604156837,
                                19.352452980325221,
                                12.910082380757316,
                                8.4009353090998218,
                                5.3151945217963785,
                                3.2568215197655381,
                                1.9233398370400498,
                                1.0881706365452795,
                                0.58534812319454232,
                                0.29644228447915727,
                                0.13951646873101647,
                                0.059947311235471569,
                                0.02293451837233337,
                                0.0075280199627840707,
                                0.002};
  const auto levels = KarrasLevels(18, 0.002, 80.0, 7.0);
  ASSERT_TRUE(levels.ok()) << levels.status();
  ASSERT_EQ(levels->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR((*levels)[i] / expected[i], 1.0, 1e-13) << "level " << i;
  }
}

TEST(KarrasLevelsTest, ReachesBothEndsExactly) {
  for (double exponent : {1.0, 3.0, 7.0, 100.0}) {
    for (int n : {2, 3, 18, 1024}) {
      const auto levels = KarrasLevels(n, 0.0021, 81.7, exponent);
      ASSERT_TRUE(levels.ok()) << levels.status();
      EXPECT_EQ(levels->size(), static_cast<size_t>(n));
      EXPECT_EQ(levels->front(), 81.7);
      EXPECT_EQ(levels->back(), 0.0021);
      EXPECT_EQ(LevelsError(*levels), "");
    }
  }
}

TEST(KarrasLevelsTest, ExponentOneSpacesEvenly) {
  const auto levels = KarrasLevels(5, 1.0, 9.0, 1.0);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_THAT(*levels, ElementsAre(9.0, 7.0, 5.0, 3.0, 1.0));
}

TEST(KarrasLevelsTest, OneLevelIsTheHighest) {
  const auto levels = KarrasLevels(1, 0.002, 80.0, 7.0);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_THAT(*levels, ElementsAre(80.0));
}

TEST(KarrasLevelsTest, RefusesWhatIsOutOfRangeByName) {
  for (int n : {0, -1}) EXPECT_THAT(KarrasError(n, 0.002, 80.0, 7.0), StartsWith("n: "));
  for (double bad : {0.0, -1.0, kNaN, kInf}) {
    EXPECT_THAT(KarrasError(18, bad, 80.0, 7.0), StartsWith("sigma_min: ")) << bad;
  }
  for (double bad : {0.002, 0.001, -80.0, kNaN, kInf}) {
    EXPECT_THAT(KarrasError(18, 0.002, bad, 7.0), StartsWith("sigma_max: ")) << bad;
  }
  for (double bad : {0.999, 0.0, -7.0, kNaN, kInf}) {
    EXPECT_THAT(KarrasError(18, 0.002, 80.0, bad), StartsWith("exponent: ")) << bad;
  }
}

TEST(KarrasLevelsTest, RefusesMoreLevelsThanThereAreNumbersBetweenTheEnds) {
  EXPECT_THAT(KarrasError(18, 1.0, std::nextafter(1.0, 2.0), 7.0), StartsWith("n: 18 levels"));
}

TEST(ValidateLevelsTest, AcceptsDecreasingPositiveLevels) {
  EXPECT_EQ(LevelsError({80.0}), "");
  EXPECT_EQ(LevelsError({80.0, 3.0, 1e-9}), "");
}

TEST(ValidateLevelsTest, NamesTheFirstOffender) {
  EXPECT_EQ(LevelsError({}), "levels: at least one is needed");
  EXPECT_EQ(LevelsError({5.0, 3.0, 3.0, 4.0}), "levels[2]: must be below levels[1] (3); got 3");
  EXPECT_EQ(LevelsError({5.0, 7.0}), "levels[1]: must be below levels[0] (5); got 7");
  EXPECT_EQ(LevelsError({5.0, 0.0}), "levels[1]: must be finite and above 0; got 0");
  EXPECT_EQ(LevelsError({-5.0}), "levels[0]: must be finite and above 0; got -5");
  EXPECT_THAT(LevelsError({kInf, 1.0}), StartsWith("levels[0]: must be finite"));
  EXPECT_THAT(LevelsError({5.0, kNaN, 1.0}), StartsWith("levels[1]: must be finite"));
}

}  // namespace
}  // namespace skipstream
