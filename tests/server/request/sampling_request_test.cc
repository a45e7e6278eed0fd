// Tests solvers, schedules and guidance of a request.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"
#include "model/diffusion/sampler.h"
#include "server/request/model_description.h"
#include "server/request/request_resolver.h"
#include "server/request/solver_names.h"
#include "tests/testing/test_models.h"

namespace skipstream {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class SamplingRequestTest : public ::testing::Test {
 protected:
  absl::StatusOr<ResolvedGeneration> TryResolve(const v1::GenerateRequest& request) {
    return ResolveRequest(request, models_.registry, RequestLimits(), [] { return 7u; });
  }
  ResolvedGeneration Resolve(const v1::GenerateRequest& request) {
    absl::StatusOr<ResolvedGeneration> resolved = TryResolve(request);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    return resolved.ok() ? *std::move(resolved) : ResolvedGeneration();
  }
  ResolvedGeneration Resolve(const std::string& text) { return Resolve(Request(text)); }

  v1::Sampler Sampler(const std::string& text) { return Resolve(text).request.sampler(); }
  std::vector<double> Levels(const std::string& text) {
    const auto sigmas = Sampler(text).explicit_levels().sigmas();
    return {sigmas.begin(), sigmas.end()};
  }

  // The request, resolved, means the same.
  void ExpectFixedPoint(const std::string& text) {
    SCOPED_TRACE(text);
    const ResolvedGeneration once = Resolve(text);
    ASSERT_NE(once.plan, nullptr);
    const ResolvedGeneration twice = Resolve(once.request);
    ASSERT_NE(twice.plan, nullptr);
    EXPECT_TRUE(MessageDifferencer::Equals(once.request, twice.request))
        << once.request.DebugString() << "\n"
        << twice.request.DebugString();
    EXPECT_EQ(once.guide, twice.guide);
    EXPECT_EQ(once.plan->initial.image, twice.plan->initial.image);
    EXPECT_EQ(once.plan->initial.latent, twice.plan->initial.latent);
    EXPECT_EQ(once.plan->initial.noise, twice.plan->initial.noise);
    ASSERT_EQ(once.plan->steps.size(), twice.plan->steps.size());
    for (size_t i = 0; i < once.plan->steps.size(); ++i) {
      const SolverStep& a = once.plan->steps[i];
      const SolverStep& b = twice.plan->steps[i];
      EXPECT_EQ(a.a, b.a);
      ASSERT_EQ(a.terms.size(), b.terms.size());
      for (size_t t = 0; t < a.terms.size(); ++t) {
        EXPECT_EQ(a.terms[t].conditioning_sigma, b.terms[t].conditioning_sigma);
        EXPECT_EQ(a.terms[t].weight, b.terms[t].weight);
        EXPECT_EQ(a.terms[t].network, b.terms[t].network);
        EXPECT_EQ(a.terms[t].rho, b.terms[t].rho);
      }
    }
  }

  TestModels models_;
};

TEST_F(SamplingRequestTest, EverySolverOfTheCompilerHasANameInTheApi) {
  for (const Solver solver : AllSolvers()) {
    EXPECT_EQ(FromProto(ToProto(solver)), solver) << SolverName(solver);
    EXPECT_NE(ToProto(solver), v1::SOLVER_UNSPECIFIED) << SolverName(solver);
  }
  // All values of the enum but the unspecified one.
  EXPECT_EQ(static_cast<int>(AllSolvers().size()), v1::Solver_descriptor()->value_count() - 1);
  EXPECT_EQ(FromProto(v1::SOLVER_UNSPECIFIED), Solver::kHeun);
}

TEST_F(SamplingRequestTest, ResolvedRequestsOfEverySolverAndScheduleResolveToThemselves) {
  for (const Solver solver : AllSolvers()) {
    for (const char* schedule :
         {"", "karras { schedule_exponent: 3 }", "exponential { }", "linear { }", "vp { }",
          "ve { }", "iddpm { }", "sigma_min: 0.01 sigma_max: 60"}) {
      for (const char* final_step : {"FINAL_STEP_ZERO", "FINAL_STEP_SIGMA_MIN"}) {
        const bool to_sigma_min = std::string(final_step) == "FINAL_STEP_SIGMA_MIN";
        if (to_sigma_min && solver == Solver::kConsistency) continue;
        for (const char* model : {"fruit", "stepped"}) {
          if (std::string(model) == "stepped" && *schedule == 's') continue;  // outside its limits
          const int nfe = IsTwoCallSolver(solver) && to_sigma_min ? 8 : 7;
          ExpectFixedPoint(absl::StrCat("model: '", model, "' sampler { nfe: ", nfe,
                                        " solver: ", ApiName(solver), " final_step: ", final_step,
                                        " ", schedule, " }"));
        }
      }
    }
  }
}

TEST_F(SamplingRequestTest, ResolvedRequestsWithEveryOptionResolveToThemselves) {
  for (const char* sampler : {
           "solver: SOLVER_HEUN nfe: 9 churn { s_churn: 30 s_min: 0.1 s_max: 20 s_noise: 1.01 }",
           "solver: SOLVER_EULER_ANCESTRAL nfe: 5 step_noise { eta: 0.3 s_noise: 1.1 }",
           "solver: SOLVER_DPMPP_2M_SDE nfe: 5 step_noise { eta: 0 }",
           "solver: SOLVER_UNIPC nfe: 6 unipc { order: 3 variant: UNIPC_VARIANT_BH1 corrector: "
           "false }",
           "solver: SOLVER_DPMPP_3M nfe: 6 dpmpp_3m { halved_curvature: true }",
           "solver: SOLVER_CONSISTENCY nfe: 3 consistency_sigma_min: 0",
           "solver: SOLVER_DPM2 nfe: 4 final_step: FINAL_STEP_SIGMA_MIN conditioning_sigmas: [70, "
           "60, 5, 4]",
           "solver: SOLVER_IPNDM nfe: 5 churn { s_min: 3 }",
       }) {
    ExpectFixedPoint(absl::StrCat("sampler { ", sampler, " }"));
    ExpectFixedPoint(absl::StrCat("model: 'dropout' sampler { ", sampler,
                                  " } guidance { scale: 2.5 sigma_lo: 0.3 sigma_hi: 30 }"));
    ExpectFixedPoint(
        absl::StrCat("sampler { ", sampler, " } guidance { scale: 3 guide_model: 'dropout' }"));
  }
}

TEST_F(SamplingRequestTest, OnlyWhatAppliesToTheSolverIsInTheResolvedRequest) {
  for (const Solver solver : AllSolvers()) {
    const v1::Sampler sampler = Sampler(
        absl::StrCat("sampler { solver: ", ApiName(solver), " nfe: 3 churn { s_churn: 0 } }"));
    EXPECT_EQ(sampler.has_churn(), TakesChurn(solver)) << ApiName(solver);
    EXPECT_EQ(sampler.has_step_noise(), TakesStepNoise(solver)) << ApiName(solver);
    EXPECT_EQ(sampler.has_dpmpp_3m(), solver == Solver::kDpmpp3m) << ApiName(solver);
    EXPECT_EQ(sampler.has_unipc(), solver == Solver::kUnipc) << ApiName(solver);
    EXPECT_EQ(sampler.has_consistency_sigma_min(), solver == Solver::kConsistency);
    EXPECT_EQ(sampler.final_step(), v1::FINAL_STEP_ZERO);
    EXPECT_EQ(sampler.conditioning_sigmas_size(), 0);
  }
}

TEST_F(SamplingRequestTest, DefaultsOfTheSolversAreFilledIn) {
  const v1::StepNoise noise = Sampler("sampler { solver: SOLVER_EULER_ANCESTRAL }").step_noise();
  EXPECT_EQ(noise.eta(), 1.0);
  EXPECT_EQ(noise.s_noise(), 1.0);
  const v1::Unipc unipc = Sampler("sampler { solver: SOLVER_UNIPC }").unipc();
  EXPECT_EQ(unipc.order(), 2);
  EXPECT_EQ(unipc.variant(), v1::UNIPC_VARIANT_BH2);
  EXPECT_TRUE(unipc.corrector());
}

TEST_F(SamplingRequestTest, TheDefaultNfeSuitsEverySolverAndFinalStep) {
  for (const Solver solver : AllSolvers()) {
    const std::string text = absl::StrCat("solver: ", ApiName(solver));
    EXPECT_EQ(Resolve(absl::StrCat("sampler { ", text, " }")).plan->nfe(), 19) << text;
    if (solver == Solver::kConsistency) continue;
    EXPECT_EQ(Resolve(absl::StrCat("sampler { ", text, " final_step: FINAL_STEP_SIGMA_MIN }"))
                  .plan->nfe(),
              IsTwoCallSolver(solver) ? 18 : 19)
        << text;
  }
}

TEST_F(SamplingRequestTest, EachScheduleHasItsOwnDefaultEnds) {
  const struct {
    const char* schedule;
    double sigma_max;
    double sigma_min;
  } cases[] = {{"", 80, 0.002},
               {"exponential { }", 80, 0.002},
               {"linear { }", 80, 0.002},
               {"vp { }", std::sqrt(std::exp(10.05) - 1), std::sqrt(std::exp(1.0995e-4) - 1)},
               {"ve { }", 100, 0.02}};
  for (const auto& c : cases) {
    const std::vector<double> levels =
        Levels(absl::StrCat("sampler { solver: SOLVER_EULER nfe: 5 ", c.schedule, " }"));
    ASSERT_THAT(levels, SizeIs(5)) << c.schedule;
    EXPECT_NEAR(levels.front(), c.sigma_max, 1e-9 * c.sigma_max) << c.schedule;
    EXPECT_NEAR(levels.back(), c.sigma_min, 1e-9) << c.schedule;
  }
  // Levels of the list nearest inside 0.002 to 81.
  const std::vector<double> iddpm = Levels("sampler { solver: SOLVER_EULER nfe: 5 iddpm { } }");
  ASSERT_THAT(iddpm, SizeIs(5));
  EXPECT_NEAR(iddpm.front(), 80.5, 0.5);
  EXPECT_LT(iddpm.back(), 0.01);
  EXPECT_GE(iddpm.back(), 0.002);
}

TEST_F(SamplingRequestTest, SchedulesAreClippedToTheModel) {
  const std::vector<double> vp =
      Levels("model: 'grey' sampler { solver: SOLVER_EULER nfe: 3 vp { } }");
  EXPECT_NEAR(vp.front(), 100.0, 1e-9);
  EXPECT_NEAR(vp.back(), 0.02, 1e-9);
}

TEST_F(SamplingRequestTest, SpacingIsThatOfTheSchedule) {
  EXPECT_THAT(
      Levels("sampler { solver: SOLVER_EULER nfe: 3 linear { } sigma_min: 1 sigma_max: 9 }"),
      ElementsAre(9, 5, 1));
  EXPECT_THAT(
      Levels("sampler { solver: SOLVER_EULER nfe: 3 exponential { } sigma_min: 1 sigma_max: 9 }"),
      ElementsAre(9, DoubleNear(3, 1e-12), 1));
}

TEST_F(SamplingRequestTest, TheLastStepMayEndAtSigmaMin) {
  const ResolvedGeneration resolved = Resolve(
      "sampler { nfe: 4 final_step: FINAL_STEP_SIGMA_MIN linear { } sigma_min: 1 "
      "sigma_max: 9 }");
  EXPECT_THAT(resolved.request.sampler().explicit_levels().sigmas(), ElementsAre(9, 5, 1));
  EXPECT_EQ(resolved.request.sampler().final_step(), v1::FINAL_STEP_SIGMA_MIN);
  EXPECT_EQ(resolved.plan->nfe(), 4);
  EXPECT_EQ(resolved.plan->steps.back().sigma, 1.0) << "Heun's corrector";
}

TEST_F(SamplingRequestTest, ConsistencySamplingLeavesOutTheEndOfTheSchedule) {
  EXPECT_THAT(Levels("sampler { solver: SOLVER_CONSISTENCY nfe: 1 }"), ElementsAre(80));
  EXPECT_THAT(
      Levels("sampler { solver: SOLVER_CONSISTENCY nfe: 2 linear { } sigma_min: 1 sigma_max: 9 }"),
      ElementsAre(9, 5));
}

TEST_F(SamplingRequestTest, ConsistencySamplingTakesItsLowestLevelFromTheModel) {
  const auto sigma_min = [&](const std::string& model, const std::string& levels) {
    return Sampler(absl::StrCat("model: '", model, "' sampler { solver: SOLVER_CONSISTENCY ",
                                levels, " }"))
        .consistency_sigma_min();
  };
  EXPECT_EQ(sigma_min("fruit", "nfe: 2"), 0.002);
  EXPECT_EQ(sigma_min("distilled", "nfe: 2"), 0.004);
  EXPECT_EQ(sigma_min("fruit", "explicit_levels { sigmas: [1, 0.001] }"), 0.001);
}

TEST_F(SamplingRequestTest, LevelsAreRoundedToThoseOfTheModel) {
  EXPECT_THAT(Levels("model: 'stepped' sampler { solver: SOLVER_EULER "
                     "explicit_levels { sigmas: [50, 17, 15, 0.9] } }"),
              ElementsAre(64, 16, 8, 1));
  EXPECT_THAT(Levels("model: 'stepped' sampler { solver: SOLVER_EULER nfe: 3 exponential { } "
                     "sigma_min: 0.9 sigma_max: 60 }"),
              ElementsAre(64, 8, 1));
  EXPECT_THAT(Levels("model: 'stepped' sampler { solver: SOLVER_EULER nfe: 12 }"),
              ElementsAreArray(SteppedInfo().sigma_levels));
}

TEST_F(SamplingRequestTest, ConditioningSigmasAreWhatTheNetworkIsTold) {
  const ResolvedGeneration resolved =
      Resolve("sampler { solver: SOLVER_EULER nfe: 3 conditioning_sigmas: [70, 3, 0.01] }");
  EXPECT_THAT(resolved.request.sampler().conditioning_sigmas(), ElementsAre(70, 3, 0.01));
  EXPECT_EQ(resolved.plan->steps[1].terms[0].conditioning_sigma, 3);
  EXPECT_NE(resolved.plan->steps[1].sigma, 3);
}

TEST_F(SamplingRequestTest, StepNoiseSaysHowMuchIsFresh) {
  const auto uses_noise = [&](const std::string& eta) {
    return Resolve(absl::StrCat(
                       "sampler { solver: SOLVER_EULER_ANCESTRAL nfe: 4 step_noise { eta: ", eta,
                       " } }"))
        .plan->steps[0]
        .uses_noise;
  };
  EXPECT_TRUE(uses_noise("1"));
  EXPECT_FALSE(uses_noise("0"));
}

TEST_F(SamplingRequestTest, TheCurvatureOfDpmpp3mCanBeHalved) {
  const std::string plain = "sampler { solver: SOLVER_DPMPP_3M nfe: 6 dpmpp_3m { ";
  const auto matrix = [&](const std::string& text) { return Resolve(text).plan->steps[3].a; };
  EXPECT_EQ(matrix(plain + "} }"), matrix(plain + "halved_curvature: false } }"));
  EXPECT_NE(matrix(plain + "} }"), matrix(plain + "halved_curvature: true } }"));
}

TEST_F(SamplingRequestTest, GuidedEvaluationsCostTwoRowsAndOneCall) {
  const ResolvedGeneration resolved = Resolve(
      "model: 'dropout' count: 3 guidance { scale: 2 } sampler { solver: SOLVER_EULER nfe: 4 }");
  EXPECT_EQ(resolved.rows(), 24);
  EXPECT_EQ(resolved.evaluations(), 12);
  EXPECT_EQ(resolved.guide, nullptr);
  const std::vector<DenoiserTerm>& terms = resolved.plan->steps[0].terms;
  ASSERT_THAT(terms, SizeIs(2));
  EXPECT_TRUE(terms[0].conditional);
  EXPECT_FALSE(terms[1].conditional);
  EXPECT_EQ(terms[0].weight, 2.0);
  EXPECT_EQ(terms[1].weight, -1.0);
}

TEST_F(SamplingRequestTest, GuidanceIsOnInsideItsInterval) {
  const ResolvedGeneration resolved = Resolve(
      "model: 'dropout' guidance { scale: 2 sigma_lo: 2 sigma_hi: 20 } "
      "sampler { solver: SOLVER_EULER explicit_levels { sigmas: [40, 20, 2, 1] } }");
  std::vector<size_t> terms;
  for (const SolverStep& step : resolved.plan->steps) terms.push_back(step.terms.size());
  EXPECT_THAT(terms, ElementsAre(1, 2, 2, 1));
}

TEST_F(SamplingRequestTest, AScaleOfOneIsNoGuidance) {
  for (const char* guidance :
       {"guidance { }", "guidance { scale: 1 }", "guidance { guide_model: 'dropout' }",
        "guidance { scale: 1 sigma_lo: 1 guide_model: 'dropout' }"}) {
    const ResolvedGeneration resolved = Resolve(guidance);
    EXPECT_FALSE(resolved.request.has_guidance()) << guidance;
    EXPECT_EQ(resolved.guide, nullptr) << guidance;
    EXPECT_EQ(resolved.rows(), resolved.evaluations()) << guidance;
  }
}

TEST_F(SamplingRequestTest, AGuideIsTheSecondNetwork) {
  const ResolvedGeneration resolved =
      Resolve("guidance { scale: 2 guide_model: 'dropout' } skip_tuning { rho: 0.5 }");
  ASSERT_NE(resolved.guide, nullptr);
  EXPECT_EQ(resolved.guide->name(), "dropout");
  const std::vector<DenoiserTerm>& terms = resolved.plan->steps[0].terms;
  ASSERT_THAT(terms, SizeIs(2));
  EXPECT_EQ(terms[1].network, 1);
  EXPECT_TRUE(terms[1].conditional);
  EXPECT_THAT(terms[0].rho, ElementsAre(0.5f, 0.5f, 0.5f, 0.5f));
  EXPECT_THAT(terms[1].rho, ElementsAre(1, 1, 1, 1, 1, 1)) << "the guide's K, not tuned";
  EXPECT_EQ(resolved.request.guidance().guide_model_sha256(), resolved.guide->info().sha256);
}

TEST_F(SamplingRequestTest, AModelMayGuideItself) {
  EXPECT_EQ(Resolve("guidance { scale: 2 guide_model: 'fruit' }").guide->name(), "fruit");
}

TEST_F(SamplingRequestTest, AGuideNeedsToKnowTheLevelsWhereItGuides) {
  EXPECT_TRUE(TryResolve(Request("guidance { scale: 2 guide_model: 'distilled' sigma_hi: 70 } "
                                 "sampler { sigma_min: 0.004 sigma_max: 90 }"))
                  .ok());
}

TEST_F(SamplingRequestTest, AGuideHasTheClassesOfTheModelInTheSameOrder) {
  PuppetExecutor::Options options;
  options.info = FruitInfo();
  std::swap(options.info.class_names[0], options.info.class_names[1]);
  PuppetExecutor executor(options);
  ModelRegistry registry;
  ASSERT_TRUE(registry.Add(*LoadedModel::Load(models_.fruit_executor, "fruit", "a")).ok());
  ASSERT_TRUE(registry.Add(*LoadedModel::Load(executor, "swapped", "b")).ok());
  const absl::Status status =
      ResolveRequest(Request("guidance { scale: 2 guide_model: 'swapped' }"), registry,
                     RequestLimits(), [] { return 7u; })
          .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("the same classes in the same order"));
}

TEST_F(SamplingRequestTest, AnUnknownGuideIsNotFoundByName) {
  const absl::Status status =
      TryResolve(Request("guidance { scale: 2 guide_model: 'nobody' }")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("guidance.guide_model"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("dropout, fruit"));
}

TEST_F(SamplingRequestTest, AGuideWithOtherWeightsIsRefused) {
  const absl::Status status =
      TryResolve(Request(absl::StrCat("guidance { scale: 2 guide_model: 'dropout' "
                                      "guide_model_sha256: '",
                                      std::string(64, 'b'), "' }")))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetReason(status), "MODEL_CHANGED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("guidance.guide_model_sha256"));
}

TEST_F(SamplingRequestTest, ModelsSayWhatTheyCanDo) {
  const auto describe = [&](const std::string& name) {
    return DescribeModel(*models_.registry.Find(name).value(), false, RequestLimits());
  };
  EXPECT_TRUE(describe("dropout").supports_guidance());
  EXPECT_FALSE(describe("fruit").supports_guidance());
  EXPECT_FALSE(describe("grey").supports_guidance());
  EXPECT_THAT(describe("stepped").sigma_levels(), ElementsAreArray(SteppedInfo().sigma_levels));
  EXPECT_THAT(describe("fruit").sigma_levels(), SizeIs(0));
}

}  // namespace
}  // namespace skipstream
