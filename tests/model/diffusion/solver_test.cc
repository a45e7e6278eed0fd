#include "model/diffusion/solver.h"

#include <limits>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(SolverTest, NamesAreLowerCaseAndRoundTrip) {
  EXPECT_EQ(AllSolvers().size(), 10u);
  for (Solver solver : AllSolvers()) {
    EXPECT_EQ(SolverFromName(SolverName(solver)), solver);
    EXPECT_THAT(std::string(SolverName(solver)), testing::MatchesRegex("[a-z0-9_]+"));
  }
  for (const char* unknown : {"", "Heun", "ddim"}) EXPECT_FALSE(SolverFromName(unknown)) << unknown;
}

TEST(LevelsForNfeTest, IsTheInverseOfNfeForLevels) {
  for (Solver solver : AllSolvers()) {
    for (FinalLevel final_level : {FinalLevel::kZero, FinalLevel::kPositive}) {
      for (int n = 1; n <= 100; ++n) {
        const int nfe = NfeForLevels(solver, final_level, n);
        const auto levels = LevelsForNfe(solver, final_level, nfe);
        ASSERT_TRUE(levels.ok()) << levels.status();
        EXPECT_EQ(*levels, n) << SolverName(solver);
      }
    }
  }
  EXPECT_EQ(NfeForLevels(Solver::kHeun, FinalLevel::kZero, 18), 35);
  EXPECT_EQ(NfeForLevels(Solver::kHeun, FinalLevel::kPositive, 18), 36);
  EXPECT_EQ(NfeForLevels(Solver::kUnipc, FinalLevel::kZero, 18), 18);
}

TEST(LevelsForNfeTest, TwoCallSolversOfferBothNeighbours) {
  for (Solver solver : AllSolvers()) {
    const absl::Status even = LevelsForNfe(solver, FinalLevel::kZero, 18).status();
    const absl::Status odd = LevelsForNfe(solver, FinalLevel::kPositive, 19).status();
    EXPECT_EQ(even.ok(), !IsTwoCallSolver(solver)) << even;
    EXPECT_EQ(odd.ok(), !IsTwoCallSolver(solver)) << odd;
    if (!IsTwoCallSolver(solver)) continue;
    EXPECT_THAT(std::string(even.message()), HasSubstr("needs an odd number of evaluations"));
    EXPECT_THAT(std::string(even.message()), HasSubstr("17 and 19 are"));
    EXPECT_THAT(std::string(odd.message()), HasSubstr("18 and 20 are"));
  }
  EXPECT_THAT(std::string(LevelsForNfe(Solver::kHeun, FinalLevel::kPositive, 1).status().message()),
              HasSubstr("1 is not possible, 2 is"));
}

TEST(LevelsForNfeTest, RefusesLessThanOne) {
  for (Solver solver : AllSolvers()) {
    for (int nfe : {0, -1, std::numeric_limits<int>::min()}) {
      const absl::Status status = LevelsForNfe(solver, FinalLevel::kZero, nfe).status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      EXPECT_THAT(std::string(status.message()), StartsWith("nfe: must be at least 1")) << nfe;
    }
  }
}

}  // namespace
}  // namespace skipstream
