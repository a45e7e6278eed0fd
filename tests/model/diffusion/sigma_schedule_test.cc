#include "model/diffusion/sigma_schedule.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

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
  const absl::Status status =
      SpacedLevels(KarrasSpacing{exponent}, n, sigma_min, sigma_max).status();
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

std::string LevelsError(const SigmaLevels& levels) {
  const absl::Status status = ValidateLevels(levels);
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(KarrasSpacingTest, FollowsTheFormula) {
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
  const auto levels = SpacedLevels(KarrasSpacing{}, 18, 0.002, 80.0);
  ASSERT_TRUE(levels.ok()) << levels.status();
  ASSERT_EQ(levels->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR((*levels)[i] / expected[i], 1.0, 1e-13) << "level " << i;
  }
}

TEST(KarrasSpacingTest, ReachesBothEndsExactly) {
  for (double exponent : {1.0, 3.0, 7.0, 100.0}) {
    for (int n : {2, 3, 18, 1024}) {
      const auto levels = SpacedLevels(KarrasSpacing{exponent}, n, 0.0021, 81.7);
      ASSERT_TRUE(levels.ok()) << levels.status();
      EXPECT_EQ(levels->size(), static_cast<size_t>(n));
      EXPECT_EQ(levels->front(), 81.7);
      EXPECT_EQ(levels->back(), 0.0021);
      EXPECT_EQ(LevelsError(*levels), "");
    }
  }
}

TEST(KarrasSpacingTest, ExponentOneSpacesEvenly) {
  const auto levels = SpacedLevels(KarrasSpacing{1.0}, 5, 1.0, 9.0);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_THAT(*levels, ElementsAre(9.0, 7.0, 5.0, 3.0, 1.0));
}

TEST(KarrasSpacingTest, OneLevelIsTheHighest) {
  const auto levels = SpacedLevels(KarrasSpacing{}, 1, 0.002, 80.0);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_THAT(*levels, ElementsAre(80.0));
}

TEST(KarrasSpacingTest, RefusesWhatIsOutOfRangeByName) {
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

TEST(KarrasSpacingTest, RefusesMoreLevelsThanThereAreNumbersBetweenTheEnds) {
  EXPECT_THAT(KarrasError(18, 1.0, std::nextafter(1.0, 2.0), 7.0), StartsWith("n: 18 levels"));
}

const std::vector<Spacing>& AllSpacings() {
  static const auto* const spacings = new std::vector<Spacing>{
      KarrasSpacing{}, ExponentialSpacing{}, LinearSpacing{}, VpSpacing{}, IddpmSpacing{}};
  return *spacings;
}

TEST(SpacedLevelsTest, EverySpacingGivesValidLevelsInsideTheRange) {
  for (const Spacing& spacing : AllSpacings()) {
    for (int n : {1, 2, 3, 10, 100}) {
      const auto levels = SpacedLevels(spacing, n, 0.02, 70.0);
      ASSERT_TRUE(levels.ok()) << levels.status();
      EXPECT_EQ(levels->size(), static_cast<size_t>(n));
      EXPECT_EQ(LevelsError(*levels), "");
      EXPECT_LE(levels->front(), 70.0);
      EXPECT_GE(levels->back(), 0.02);
      if (std::holds_alternative<IddpmSpacing>(spacing)) continue;
      EXPECT_EQ(levels->front(), 70.0);
      if (n > 1) {
        EXPECT_EQ(levels->back(), 0.02);
      }
    }
  }
}

TEST(SpacedLevelsTest, LevelAtIsTheCurveThatLevelsLieOn) {
  for (const Spacing& spacing : AllSpacings()) {
    const SigmaLevels levels = *SpacedLevels(spacing, 9, 0.02, 70.0);
    for (int i = 0; i < 9; ++i) {
      EXPECT_EQ(LevelAt(spacing, i / 8.0, 0.02, 70.0), levels[i]) << spacing.index() << " " << i;
    }
  }
}

TEST(SpacedLevelsTest, ExponentialIsGeometric) {
  const SigmaLevels levels = *SpacedLevels(ExponentialSpacing{}, 5, 0.01, 100.0);
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(levels[i] * std::pow(10.0, i - 2.0), 1.0, 1e-12);
}

TEST(SpacedLevelsTest, VpIsUniformInTimeUpToItsHighestLevel) {
  // sigma(t) at t = 1, 0.5, 0.001 (EDM Table 1), so the middle of the times between is the middle
  // level.
  const auto sigma = [](double t) { return std::sqrt(std::expm1(9.95 * t * t + 0.1 * t)); };
  const SigmaLevels levels = *SpacedLevels(VpSpacing{}, 3, sigma(0.001), sigma(1.0));
  EXPECT_NEAR(levels[1], sigma(0.5005), 1e-9);
}

TEST(SpacedLevelsTest, IddpmTakesOnlyLevelsOfItsOwnAndSaysWhenThereAreTooFew) {
  const std::vector<double> own = IddpmLevels();
  const SigmaLevels levels = *SpacedLevels(IddpmSpacing{}, 35, 0.002, 81.0);
  EXPECT_EQ(levels.front(), own[8]);  // the paper's j_0
  for (const double level : levels) {
    EXPECT_EQ(NearestLevel(level, own), level);
  }
  EXPECT_THAT(std::string(SpacedLevels(IddpmSpacing{}, 5, 0.5, 0.503).status().message()),
              StartsWith("n: iDDPM has "));
}

TEST(IddpmLevelsTest, FollowTheRecursionOfThePaper) {
  const std::vector<double> levels = IddpmLevels();
  ASSERT_EQ(levels.size(), 1000u);
  EXPECT_EQ(LevelsError(levels), "");
  // u_{j-1}^2 + 1 = (u_j^2 + 1) * a_j / a_{j-1}, so 1 / (u_j^2 + 1) is a_j / a_M wherever the clip
  // with C_1 does not act.
  const auto a = [](double j) { return std::pow(std::sin(M_PI_2 * j / 1008.0), 2); };
  for (int j : {999, 500, 100, 40}) {
    EXPECT_NEAR((levels[j] * levels[j] + 1.0) * a(j) / a(1000), 1.0, 1e-9) << j;
  }
}

TEST(RoundLevelsTest, MovesEveryLevelToTheNearestAllowedOne) {
  EXPECT_THAT(*RoundLevels({9.6, 4.9, 0.2}, {10.0, 8.0, 5.0, 1.0}), ElementsAre(10.0, 5.0, 1.0));
  EXPECT_THAT(*RoundLevels({100.0, 0.001}, {10.0, 8.0, 5.0, 1.0}), ElementsAre(10.0, 1.0));
  EXPECT_THAT(*RoundLevels({3.0, 2.0}, {}), ElementsAre(3.0, 2.0));
}

TEST(RoundLevelsTest, LevelsThatWouldMeetTakeTheNextFreeOne) {
  EXPECT_THAT(*RoundLevels({8.2, 8.1, 7.9}, {10.0, 8.0, 5.0, 1.0}), ElementsAre(8.0, 5.0, 1.0));
  EXPECT_THAT(*RoundLevels({1.2, 1.1, 0.9}, {10.0, 8.0, 5.0, 1.0}), ElementsAre(8.0, 5.0, 1.0));
}

TEST(RoundLevelsTest, ChangesNothingTheSecondTime) {
  const std::vector<double> allowed = IddpmLevels();
  for (int n : {1, 7, 100, 600, 1000}) {
    const SigmaLevels once = *RoundLevels(*SpacedLevels(KarrasSpacing{}, n, 0.01, 80.0), allowed);
    EXPECT_EQ(LevelsError(once), "");
    EXPECT_EQ(*RoundLevels(once, allowed), once);
  }
}

TEST(RoundLevelsTest, RefusesMoreLevelsThanAreAllowed) {
  EXPECT_TRUE(absl::IsInvalidArgument(RoundLevels({3.0, 2.0, 1.0}, {2.0, 1.0}).status()));
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
