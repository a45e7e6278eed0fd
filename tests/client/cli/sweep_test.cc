// Sweeps: the rows and columns that lists make, and the requests that fill them.
#include "client/cli/sweep/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/flags/list_parser.h"

namespace skipstream::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

uint32_t NoDraw() {
  ADD_FAILURE() << "no seed should be drawn";
  return 0;
}

std::vector<v1::ClassSelector> Classes(const char* list) { return *ParseClasses(list); }

std::vector<std::string> Columns(const Sweep& sweep) {
  std::vector<std::string> columns;
  for (const ColumnSpec& column : sweep.columns) {
    columns.push_back((column.class_selector ? column.class_selector->name() : "") + "@" +
                      std::to_string(column.seed));
  }
  return columns;
}

TEST(SweepTest, NothingGivenIsOneImageOfADrawnSeed) {
  const Sweep sweep = *ExpandSweep({}, [] { return 42u; });
  EXPECT_EQ(sweep.num_images(), 1);
  EXPECT_EQ(sweep.columns[0].seed, 42u);
  EXPECT_FALSE(sweep.is_sweep);
}

TEST(SweepTest, RowsAreNfeByRhoByGuidanceBySolver) {
  SweepAxes axes;
  axes.nfe = {9, 19};
  axes.rho = {0.9, 1.0};
  axes.guidance = {1.0, 2.5};
  axes.solvers = {v1::SOLVER_HEUN, v1::SOLVER_EULER};
  axes.seeds = {1};
  const Sweep sweep = *ExpandSweep(axes, NoDraw);
  ASSERT_EQ(sweep.rows.size(), 16u);
  EXPECT_TRUE(sweep.is_sweep);
  EXPECT_EQ(*sweep.rows[0].nfe, 9);
  EXPECT_EQ(*sweep.rows[1].solver, v1::SOLVER_EULER);
  EXPECT_EQ(*sweep.rows[1].guidance, 1.0);
  EXPECT_EQ(*sweep.rows[2].guidance, 2.5);
  EXPECT_EQ(*sweep.rows[4].rho, 1.0);
  EXPECT_EQ(*sweep.rows[8].nfe, 19);
}

TEST(SweepTest, ListedRowsMeetEveryGuidanceAndTheSolversTheyLeaveOpen) {
  SweepAxes axes;
  axes.rows = *ParseRows("9:0.9:unipc,19:1");
  axes.guidance = {1.5, 3};
  axes.solvers = {v1::SOLVER_HEUN, v1::SOLVER_DPM2};
  axes.seeds = {1};
  const Sweep sweep = *ExpandSweep(axes, NoDraw);
  ASSERT_EQ(sweep.rows.size(), 6u);
  EXPECT_EQ(*sweep.rows[1].solver, v1::SOLVER_UNIPC);
  EXPECT_EQ(*sweep.rows[1].guidance, 3);
  EXPECT_EQ(*sweep.rows[3].solver, v1::SOLVER_DPM2);
  EXPECT_EQ(*sweep.rows[3].guidance, 1.5);
}

// The samplers of a sweep over `solvers` with the options of `base`.
std::vector<v1::Sampler> SamplersOf(std::vector<v1::Solver> solvers, const v1::Sampler& base) {
  SweepAxes axes;
  axes.solvers = std::move(solvers);
  axes.seeds = {1};
  v1::GenerateRequest request;
  *request.mutable_sampler() = base;
  std::vector<v1::Sampler> samplers;
  for (const PlannedRequest& planned : PlanRequests(*ExpandSweep(axes, NoDraw), request, 16)) {
    samplers.push_back(planned.request.sampler());
  }
  return samplers;
}

TEST(SweepTest, OptionsOfSomeSolversGoToTheirRows) {
  v1::Sampler base;
  base.mutable_churn()->set_s_churn(10);
  base.mutable_churn()->set_s_noise(1.003);
  base.mutable_step_noise()->set_eta(0.5);
  base.mutable_unipc()->set_order(3);
  base.mutable_dpmpp_3m()->set_halved_curvature(true);
  base.set_consistency_sigma_min(0.01);
  const auto samplers = SamplersOf({v1::SOLVER_HEUN, v1::SOLVER_EULER_ANCESTRAL, v1::SOLVER_UNIPC,
                                    v1::SOLVER_CONSISTENCY, v1::SOLVER_DPM2, v1::SOLVER_DPMPP_3M},
                                   base);
  ASSERT_EQ(samplers.size(), 6u);
  EXPECT_EQ(samplers[0].ShortDebugString(),
            "solver: SOLVER_HEUN churn { s_churn: 10 s_noise: 1.003 }");
  EXPECT_EQ(samplers[1].ShortDebugString(),
            "solver: SOLVER_EULER_ANCESTRAL step_noise { eta: 0.5 s_noise: 1.003 }");
  EXPECT_EQ(samplers[2].ShortDebugString(), "solver: SOLVER_UNIPC unipc { order: 3 }");
  EXPECT_EQ(samplers[3].ShortDebugString(),
            "solver: SOLVER_CONSISTENCY consistency_sigma_min: 0.01");
  EXPECT_EQ(samplers[4].ShortDebugString(), "solver: SOLVER_DPM2");
  EXPECT_EQ(samplers[5].ShortDebugString(),
            "solver: SOLVER_DPMPP_3M dpmpp_3m { halved_curvature: true }");
}

TEST(SweepTest, OptionsThatNoSolverTakesStayForTheServerToRefuse) {
  v1::Sampler base;
  base.mutable_churn()->set_s_churn(10);
  base.mutable_churn()->set_s_noise(1.1);
  base.mutable_unipc()->set_order(3);
  for (const v1::Sampler& sampler :
       SamplersOf({v1::SOLVER_DPMPP_2M, v1::SOLVER_DPMPP_2M_SDE}, base)) {
    EXPECT_EQ(sampler.churn().s_churn(), 10);
    EXPECT_EQ(sampler.unipc().order(), 3);
  }
  base.Clear();
  base.mutable_churn()->set_s_noise(1.1);
  EXPECT_EQ(SamplersOf({v1::SOLVER_DPMPP_2M_SDE}, base)[0].ShortDebugString(),
            "solver: SOLVER_DPMPP_2M_SDE step_noise { s_noise: 1.1 }");
  EXPECT_EQ(SamplersOf({v1::SOLVER_IPNDM}, base)[0].churn().s_noise(), 1.1);
}

TEST(SweepTest, AsManySeedsAsClassesArePaired) {
  SweepAxes axes;
  axes.classes = Classes("cat,dog");
  axes.seeds = {1, 2};
  EXPECT_THAT(Columns(*ExpandSweep(axes, NoDraw)), ElementsAre("cat@1", "dog@2"));
  axes.cross = true;
  EXPECT_THAT(Columns(*ExpandSweep(axes, NoDraw)), ElementsAre("cat@1", "cat@2", "dog@1", "dog@2"));
}

TEST(SweepTest, OtherwiseEveryClassGetsEverySeed) {
  SweepAxes axes;
  axes.classes = Classes("cat,dog");
  axes.seeds = {5};
  EXPECT_THAT(Columns(*ExpandSweep(axes, NoDraw)), ElementsAre("cat@5", "dog@5"));
  axes.seeds = {1, 2, 3};
  EXPECT_EQ(ExpandSweep(axes, NoDraw)->num_images(), 6);
}

TEST(SweepTest, ACountContinuesOneSeedAndContradictsAnotherNumberOfSeeds) {
  SweepAxes axes;
  axes.count = 3;
  axes.seeds = {4294967295u};
  EXPECT_THAT(Columns(*ExpandSweep(axes, NoDraw)), ElementsAre("@4294967295", "@0", "@1"));
  axes.seeds = {1, 2};
  EXPECT_THAT(Message(ExpandSweep(axes, NoDraw).status()), HasSubstr("--count 3 does not fit"));
}

TEST(SweepTest, DrawnSeedsAreTheSameInEveryRow) {
  SweepAxes axes;
  axes.count = 2;
  axes.nfe = {9, 19};
  uint32_t next = 100;
  const Sweep sweep = *ExpandSweep(axes, [&] { return next++; });
  const auto planned = PlanRequests(sweep, {}, 16);
  ASSERT_EQ(planned.size(), 2u);
  EXPECT_THAT(planned[0].request.seeds(), ElementsAre(100u, 101u));
  EXPECT_THAT(planned[1].request.seeds(), ElementsAre(100u, 101u));
}

TEST(SweepTest, RequestsCarryTheirRowAndColumnsAndTheCommonRest) {
  SweepAxes axes;
  axes.rows = *ParseRows("9:0.9,35:1.0");
  axes.guidance = {2.5};
  axes.classes = Classes("cat,dog,owl");
  axes.seeds = {1, 2, 3};
  v1::GenerateRequest base;
  base.mutable_skip_tuning()->mutable_noise()->mutable_window()->set_sigma_lo(5);
  const auto planned = PlanRequests(*ExpandSweep(axes, NoDraw), base, 2);
  ASSERT_EQ(planned.size(), 4u);
  EXPECT_EQ(planned[3].row, 1);
  EXPECT_EQ(planned[3].first_column, 2);
  const v1::GenerateRequest& last = planned[3].request;
  EXPECT_EQ(last.sampler().nfe(), 35);
  EXPECT_EQ(last.skip_tuning().rho(), 1.0);
  EXPECT_EQ(last.guidance().scale(), 2.5);
  EXPECT_EQ(last.skip_tuning().noise().window().sigma_lo(), 5);
  EXPECT_EQ(last.count(), 1);
  EXPECT_THAT(last.seeds(), ElementsAre(3u));
  EXPECT_EQ(last.classes(0).name(), "owl");
}

TEST(SweepTest, DescribesRho) {
  v1::SkipTuning tuning;
  EXPECT_EQ(DescribeRho(tuning), "1.0");
  tuning.set_rho(1.05);
  EXPECT_EQ(DescribeRho(tuning), "1.05");
  tuning.mutable_linear()->set_bottom(0.9);
  EXPECT_EQ(DescribeRho(tuning), "0.9-1.0");
  tuning.set_preset("sharp");
  EXPECT_EQ(DescribeRho(tuning), "sharp");
  tuning.mutable_explicit_rho()->add_rho(1);
  tuning.mutable_explicit_rho()->add_rho(1);
  EXPECT_EQ(DescribeRho(tuning), "1.0");
  tuning.mutable_explicit_rho()->add_rho(0.5);
  EXPECT_EQ(DescribeRho(tuning), "list");
}

TEST(SweepTest, DescribesGuidance) {
  v1::Guidance guidance;
  EXPECT_EQ(DescribeGuidance(guidance), "1.0");
  guidance.set_scale(3);
  EXPECT_EQ(DescribeGuidance(guidance), "3.0");
  guidance.set_scale(1.25);
  EXPECT_EQ(DescribeGuidance(guidance), "1.25");
}

}  // namespace
}  // namespace skipstream::cli
