#include "server/request/request_resolver.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing/test_models.h"

namespace skipstream {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class RequestResolverTest : public ::testing::Test {
 protected:
  absl::StatusOr<ResolvedGeneration> TryResolve(const v1::GenerateRequest& request) {
    return ResolveRequest(request, models_.registry, limits_, [this] { return next_seed_++; });
  }
  ResolvedGeneration Resolve(const v1::GenerateRequest& request) {
    absl::StatusOr<ResolvedGeneration> resolved = TryResolve(request);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    return *std::move(resolved);
  }
  ResolvedGeneration Resolve(const std::string& text) { return Resolve(Request(text)); }

  std::vector<uint64_t> Seeds(const std::string& text) {
    std::vector<uint64_t> seeds;
    for (const SampleSpec& sample : Resolve(text).samples) seeds.push_back(sample.seed);
    return seeds;
  }
  std::vector<int> Classes(const std::string& text) {
    std::vector<int> classes;
    for (const SampleSpec& sample : Resolve(text).samples) classes.push_back(sample.class_index);
    return classes;
  }
  std::vector<double> Rho(const std::string& text) {
    const auto rho = Resolve(text).request.skip_tuning().explicit_rho().rho();
    return {rho.begin(), rho.end()};
  }

  TestModels models_;
  RequestLimits limits_;
  uint32_t next_seed_ = 1000;
};

TEST_F(RequestResolverTest, AnEmptyRequestMeansOneImageOfTheDefaultModelWithEveryDefault) {
  const ResolvedGeneration resolved = Resolve("");
  EXPECT_EQ(resolved.model->name(), "fruit");
  EXPECT_THAT(resolved.samples, SizeIs(1));
  EXPECT_EQ(resolved.samples[0].seed, 1000u);
  EXPECT_EQ(resolved.samples[0].class_index, 0) << "1000 modulo 10 classes";
  EXPECT_EQ(resolved.solver, Solver::kHeun);
  EXPECT_EQ(resolved.plan->nfe(), 19);
  EXPECT_EQ(resolved.priority, Priority::kNormal);
  EXPECT_EQ(resolved.format, ImageFormat::kPng);
  EXPECT_EQ(resolved.scale, 1);
  EXPECT_EQ(resolved.preview_every, 0);

  const v1::GenerateRequest& full = resolved.request;
  EXPECT_EQ(full.model(), "fruit");
  EXPECT_EQ(full.model_sha256(), resolved.model->info().sha256);
  EXPECT_EQ(full.count(), 1);
  EXPECT_EQ(full.sampler().solver(), v1::SOLVER_HEUN);
  EXPECT_EQ(full.sampler().nfe(), 19);
  EXPECT_EQ(full.sampler().explicit_levels().sigmas(0), 80.0);
  EXPECT_EQ(full.sampler().explicit_levels().sigmas(9), 0.002);
  EXPECT_THAT(full.skip_tuning().explicit_rho().rho(), ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(full.output().format(), v1::IMAGE_FORMAT_PNG);
  EXPECT_EQ(full.output().scale(), 1);
  EXPECT_EQ(full.priority(), v1::PRIORITY_NORMAL);
}

TEST_F(RequestResolverTest, AResolvedRequestResolvesToItself) {
  const std::vector<std::string> requests = {
      "",
      "model: 'grey' count: 3",
      "seeds: [7, 9] sampler { solver: SOLVER_EULER nfe: 11 sigma_min: 0.01 sigma_max: 50 "
      "karras { schedule_exponent: 5 } churn { s_churn: 40 s_min: 0.05 s_max: 50 s_noise: 1.003 } "
      "}",
      "sampler { churn { s_churn: 10 } } skip_tuning { rho: 0.7 noise { window { sigma_lo: 5 } } }",
      "skip_tuning { linear { bottom: 0.71 top: 1.03 } noise { ramp {} } }",
      "skip_tuning { explicit_rho { rho: [0.1, 0.2, 0.3, 0.4] } noise { knots { "
      "knots { sigma: 0.1 strength: -0.3 } knots { sigma: 7 strength: 1 } } } }",
      "skip_tuning { preset: 'default' } sampler { nfe: 35 }",
      "skip_tuning { preset: 'sharp' } sampler { solver: SOLVER_EULER nfe: 9 }",
      "classes { name: 'kiwi' } count: 4 priority: PRIORITY_HIGH",
      "output { format: IMAGE_FORMAT_WEBP scale: 8 preview_every: 2 } priority: PRIORITY_LOW",
      "sampler { explicit_levels { sigmas: [10, 1.1, 0.3] } }",
  };
  for (const std::string& text : requests) {
    const ResolvedGeneration once = Resolve(text);
    const ResolvedGeneration twice = Resolve(once.request);
    EXPECT_TRUE(MessageDifferencer::Equals(once.request, twice.request))
        << text << "\n"
        << once.request.DebugString() << "\n"
        << twice.request.DebugString();
    ASSERT_EQ(once.plan->steps.size(), twice.plan->steps.size());
    EXPECT_EQ(once.plan->initial.latent, twice.plan->initial.latent);
    for (size_t i = 0; i < once.plan->steps.size(); ++i) {
      EXPECT_EQ(once.plan->steps[i].a, twice.plan->steps[i].a) << text;
      EXPECT_EQ(once.plan->steps[i].terms[0].rho, twice.plan->steps[i].terms[0].rho) << text;
    }
  }
}

TEST_F(RequestResolverTest, JsonKeepsEveryBitOfAResolvedRequest) {
  const v1::GenerateRequest request =
      Resolve("sampler { nfe: 35 churn { s_churn: 40 } } skip_tuning { linear { bottom: 0.7 } }")
          .request;
  const std::string json = RequestAsJson(request);
  EXPECT_THAT(json, HasSubstr("\"explicit_levels\"")) << "field names as in the .proto";
  v1::GenerateRequest parsed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &parsed).ok());
  EXPECT_TRUE(MessageDifferencer::Equals(request, parsed));
  EXPECT_EQ(RequestAsJson(parsed), json);
}

TEST_F(RequestResolverTest, TheRequestOfOneImageMakesThatImageAlone) {
  const ResolvedGeneration all = Resolve(
      "seeds: [5, 6, 7] classes { index: 1 } classes { index: 2 } classes { name: 'date' }");
  const v1::GenerateRequest one = RequestForImage(all, 2);
  const ResolvedGeneration alone = Resolve(one);
  ASSERT_THAT(alone.samples, SizeIs(1));
  EXPECT_EQ(alone.samples[0].seed, 7u);
  EXPECT_EQ(alone.samples[0].class_index, 3);
  EXPECT_TRUE(MessageDifferencer::Equals(alone.request, one));
  EXPECT_TRUE(MessageDifferencer::Equals(RequestForImage(alone, 0), one));
}

TEST_F(RequestResolverTest, OneSeedCountsUpAndWraps) {
  EXPECT_THAT(Seeds("seeds: 4294967294 count: 4"), ElementsAre(4294967294u, 4294967295u, 0u, 1u));
}

TEST_F(RequestResolverTest, SeveralSeedsAreTakenAsTheyAre) {
  EXPECT_THAT(Seeds("seeds: [3, 1, 3]"), ElementsAre(3u, 1u, 3u));
}

TEST_F(RequestResolverTest, WithoutSeedsEveryImageDrawsItsOwn) {
  EXPECT_THAT(Seeds("count: 3"), ElementsAre(1000u, 1001u, 1002u));
}

TEST_F(RequestResolverTest, TheLongerOfSeedsAndClassesSaysHowManyImages) {
  EXPECT_THAT(Seeds("seeds: 5 classes { index: 1 } classes { index: 2 }"), ElementsAre(5u, 6u));
  EXPECT_THAT(Classes("seeds: [5, 6, 7] classes { index: 1 }"), ElementsAre(1, 1, 1));
}

TEST_F(RequestResolverTest, WithoutClassesTheSeedChooses) {
  EXPECT_THAT(Classes("seeds: [7, 23, 4294967295]"), ElementsAre(7, 3, 5));
}

TEST_F(RequestResolverTest, AModelWithoutClassesGetsNone) {
  EXPECT_THAT(Classes("model: 'grey' count: 2"), ElementsAre(-1, -1));
  EXPECT_EQ(Resolve("model: 'grey'").request.classes_size(), 0);
}

TEST_F(RequestResolverTest, DefaultLevelsKeepWithinTheModel) {
  const auto sigmas = Resolve("model: 'grey'").request.sampler().explicit_levels().sigmas();
  EXPECT_EQ(sigmas[0], 80.0);
  EXPECT_EQ(sigmas[sigmas.size() - 1], 0.02);
}

TEST_F(RequestResolverTest, ExplicitLevelsSayTheNfe) {
  const ResolvedGeneration heun = Resolve("sampler { explicit_levels { sigmas: [10, 1, 0.1] } }");
  EXPECT_EQ(heun.plan->nfe(), 5);
  const ResolvedGeneration euler =
      Resolve("sampler { solver: SOLVER_EULER explicit_levels { sigmas: [10, 1, 0.1] } }");
  EXPECT_EQ(euler.plan->nfe(), 3);
}

TEST_F(RequestResolverTest, PresetsAreExpandedForTheNearestNfe) {
  EXPECT_THAT(Rho("skip_tuning { preset: 'default' } sampler { nfe: 11 }"),
              ElementsAre(0.9, 0.9, 0.9, 0.9));
  EXPECT_THAT(Rho("skip_tuning { preset: 'default' } sampler { nfe: 79 }"),
              ElementsAre(0.8, DoubleNear(0.9, 1e-12), DoubleNear(1.0, 1e-12), 1.1));
}

TEST_F(RequestResolverTest, APresetBringsItsNoiseProfile) {
  const v1::NoiseProfile noise = Resolve("skip_tuning { preset: 'default' } sampler { nfe: 35 }")
                                     .request.skip_tuning()
                                     .noise();
  EXPECT_EQ(noise.window().sigma_lo(), 5.0);
  EXPECT_FALSE(noise.window().has_sigma_hi()) << "no limit";
}

TEST_F(RequestResolverTest, AWindowChangesOnlyTheStepsInside) {
  const ResolvedGeneration resolved =
      Resolve("skip_tuning { rho: 0.5 noise { window { sigma_lo: 1 sigma_hi: 10 } } }");
  for (const SolverStep& step : resolved.plan->steps) {
    const bool inside = step.sigma >= 1 && step.sigma <= 10;
    EXPECT_EQ(step.terms[0].rho[0], inside ? 0.5f : 1.0f) << step.sigma;
  }
}

TEST_F(RequestResolverTest, RowsCountAllImages) {
  EXPECT_EQ(Resolve("count: 3 sampler { nfe: 9 }").rows(), 27);
}

TEST_F(RequestResolverTest, AnUnknownModelIsNotFoundAndTheOthersAreListed) {
  const absl::Status status = TryResolve(Request("model: 'vegetable'")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("distilled, dropout, fruit, grey, stepped"));
}

TEST_F(RequestResolverTest, OtherWeightsAreRefused) {
  const std::string other(64, 'a');
  const absl::Status status = TryResolve(Request("model_sha256: '" + other + "'")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(other));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(models_.registry.Find("fruit").value()->info().sha256));
}

}  // namespace
}  // namespace skipstream
