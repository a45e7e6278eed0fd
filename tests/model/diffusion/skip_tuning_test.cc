#include "model/diffusion/skip_tuning.h"

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
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<double> Expanded(const DepthProfile& depth, int num_skips) {
  const auto rho = ExpandDepth(depth, num_skips);
  EXPECT_TRUE(rho.ok()) << rho.status();
  return rho.value_or(std::vector<double>{});
}

// The message when refused; empty when accepted.
std::string DepthError(const DepthProfile& depth, int num_skips = 4) {
  const absl::Status status = ExpandDepth(depth, num_skips).status();
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

std::string NoiseError(const NoiseProfile& noise) {
  const absl::Status status = ValidateNoise(noise);
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(ExpandDepthTest, UniformIsTheSameForEverySkip) {
  EXPECT_THAT(Expanded(UniformDepth{0.7}, 3), ElementsAre(0.7, 0.7, 0.7));
  EXPECT_THAT(Expanded(UniformDepth{}, 2), ElementsAre(1.0, 1.0));
}

TEST(ExpandDepthTest, LinearReachesBothEndsDeepestFirst) {
  EXPECT_THAT(Expanded(LinearDepth{.bottom = 0.5, .top = 1.0}, 5),
              ElementsAre(0.5, 0.625, 0.75, 0.875, 1.0));
  const std::vector<double> rho = Expanded(LinearDepth{.bottom = 0.81, .top = 0.67}, 14);
  EXPECT_EQ(rho.front(), 0.81);
  EXPECT_EQ(rho.back(), 0.67);
}

TEST(ExpandDepthTest, LinearWithOneSkipIsTheBottom) {
  EXPECT_THAT(Expanded(LinearDepth{.bottom = 0.5, .top = 1.0}, 1), ElementsAre(0.5));
}

TEST(ExpandDepthTest, ExplicitIsTakenAsItIs) {
  EXPECT_THAT(Expanded(ExplicitDepth{{0.0, 2.0, 1.1}}, 3), ElementsAre(0.0, 2.0, 1.1));
}

TEST(ExpandDepthTest, RefusesWhatIsOutOfRangeByName) {
  for (double bad : {-0.01, 2.01, kNaN, kInf, -kInf}) {
    EXPECT_THAT(DepthError(UniformDepth{bad}), StartsWith("rho: must be from 0 to 2")) << bad;
    EXPECT_THAT(DepthError(LinearDepth{.bottom = bad}), StartsWith("bottom: must be from 0 to 2"));
    EXPECT_THAT(DepthError(LinearDepth{.top = bad}), StartsWith("top: must be from 0 to 2"));
    EXPECT_THAT(DepthError(ExplicitDepth{{1.0, 1.0, bad, 1.0}}),
                StartsWith("rho[2]: must be from 0 to 2"));
  }
  EXPECT_EQ(DepthError(ExplicitDepth{{1.0, 1.0}}), "rho: must have 4 values, one per skip; got 2");
  EXPECT_THAT(DepthError(UniformDepth{1.0}, 0), StartsWith("num_skips: "));
}

TEST(NoiseStrengthTest, ConstantIsFullEverywhere) {
  for (double sigma : {0.002, 1.0, 80.0}) {
    EXPECT_EQ(NoiseStrength(ConstantNoise{}, sigma, 0.002, 80.0), 1.0);
  }
}

TEST(NoiseStrengthTest, WindowIncludesItsEdges) {
  const WindowNoise window{.sigma_lo = 0.5, .sigma_hi = 5.0};
  EXPECT_EQ(NoiseStrength(window, 0.5, 0.002, 80.0), 1.0);
  EXPECT_EQ(NoiseStrength(window, 5.0, 0.002, 80.0), 1.0);
  EXPECT_EQ(NoiseStrength(window, 2.0, 0.002, 80.0), 1.0);
  EXPECT_EQ(NoiseStrength(window, std::nextafter(0.5, 0.0), 0.002, 80.0), 0.0);
  EXPECT_EQ(NoiseStrength(window, std::nextafter(5.0, 9.0), 0.002, 80.0), 0.0);
}

TEST(NoiseStrengthTest, WindowWithoutUpperLimitReachesTheHighestLevel) {
  EXPECT_EQ(NoiseStrength(WindowNoise{.sigma_lo = 5.0, .sigma_hi = kInf}, 1e6, 0.002, 1e6), 1.0);
}

TEST(NoiseStrengthTest, RampIsLinearInLogSigma) {
  const RampNoise high{.strongest_at_high_sigma = true};
  EXPECT_EQ(NoiseStrength(high, 0.01, 0.01, 100.0), 0.0);
  EXPECT_NEAR(NoiseStrength(high, 0.1, 0.01, 100.0), 0.25, 1e-14);
  EXPECT_NEAR(NoiseStrength(high, 1.0, 0.01, 100.0), 0.5, 1e-14);
  EXPECT_EQ(NoiseStrength(high, 100.0, 0.01, 100.0), 1.0);

  const RampNoise low{.strongest_at_high_sigma = false};
  EXPECT_EQ(NoiseStrength(low, 0.01, 0.01, 100.0), 1.0);
  EXPECT_NEAR(NoiseStrength(low, 0.1, 0.01, 100.0), 0.75, 1e-14);
  EXPECT_EQ(NoiseStrength(low, 100.0, 0.01, 100.0), 0.0);
}

TEST(NoiseStrengthTest, RampStaysAtItsEndAboveTheHighestLevel) {
  EXPECT_EQ(NoiseStrength(RampNoise{true}, 113.0, 0.01, 100.0), 1.0);
  EXPECT_EQ(NoiseStrength(RampNoise{false}, 113.0, 0.01, 100.0), 0.0);
}

TEST(NoiseStrengthTest, RampTakesASingleLevelForTheHighest) {
  EXPECT_EQ(NoiseStrength(RampNoise{true}, 80.0, 80.0, 80.0), 1.0);
  EXPECT_EQ(NoiseStrength(RampNoise{false}, 80.0, 80.0, 80.0), 0.0);
}

TEST(NoiseStrengthTest, KnotsInterpolateInLogSigmaAndClampBeyondTheOuterOnes) {
  const KnotsNoise knots{{{0.1, 0.2}, {1.0, 1.0}, {100.0, 0.5}}};
  EXPECT_EQ(NoiseStrength(knots, 0.002, 0.002, 80.0), 0.2);
  EXPECT_EQ(NoiseStrength(knots, 0.1, 0.002, 80.0), 0.2);
  EXPECT_NEAR(NoiseStrength(knots, std::sqrt(0.1), 0.002, 80.0), 0.6, 1e-14);
  EXPECT_EQ(NoiseStrength(knots, 1.0, 0.002, 80.0), 1.0);
  EXPECT_NEAR(NoiseStrength(knots, 10.0, 0.002, 80.0), 0.75, 1e-14);
  EXPECT_EQ(NoiseStrength(knots, 100.0, 0.002, 80.0), 0.5);
  EXPECT_EQ(NoiseStrength(knots, 1e4, 0.002, 80.0), 0.5);
}

TEST(NoiseStrengthTest, OneKnotIsConstant) {
  const KnotsNoise knots{{{1.0, 0.3}}};
  for (double sigma : {0.1, 1.0, 10.0}) EXPECT_EQ(NoiseStrength(knots, sigma, 0.1, 10.0), 0.3);
}

TEST(ValidateNoiseTest, AcceptsWhatIsDocumented) {
  EXPECT_EQ(NoiseError(ConstantNoise{}), "");
  EXPECT_EQ(NoiseError(RampNoise{}), "");
  EXPECT_EQ(NoiseError(WindowNoise{.sigma_lo = 0.0, .sigma_hi = kInf}), "");
  EXPECT_EQ(NoiseError(WindowNoise{.sigma_lo = 2.0, .sigma_hi = 2.0}), "");
  EXPECT_EQ(NoiseError(KnotsNoise{{{0.1, 0.0}, {0.2, 1.0}}}), "");
}

TEST(ValidateNoiseTest, RefusesWhatIsOutOfRangeByName) {
  for (double bad : {-1.0, kNaN, kInf}) {
    EXPECT_THAT(NoiseError(WindowNoise{.sigma_lo = bad, .sigma_hi = kInf}),
                StartsWith("sigma_lo: "))
        << bad;
  }
  for (double bad : {0.9, kNaN, -kInf}) {
    EXPECT_THAT(NoiseError(WindowNoise{.sigma_lo = 1.0, .sigma_hi = bad}), StartsWith("sigma_hi: "))
        << bad;
  }
  EXPECT_THAT(NoiseError(KnotsNoise{}), StartsWith("knots: "));
  for (double bad : {0.0, -1.0, 1.0, 0.5, kNaN, kInf}) {
    EXPECT_THAT(NoiseError(KnotsNoise{{{1.0, 0.5}, {bad, 0.5}}}), StartsWith("knots[1].sigma: "))
        << bad;
  }
  for (double bad : {-1.1, 1.1, kNaN, kInf}) {
    EXPECT_THAT(NoiseError(KnotsNoise{{{1.0, bad}}}), StartsWith("knots[0].strength: ")) << bad;
  }
}

TEST(RhoAtStrengthTest, GoesFromOneToTheFullProfile) {
  const std::vector<double> full = {0.7, 1.3};
  EXPECT_THAT(RhoAtStrength(full, 0.0), ElementsAre(1.0f, 1.0f));
  EXPECT_THAT(RhoAtStrength(full, 0.5), ElementsAre(0.85f, 1.15f));
  EXPECT_THAT(RhoAtStrength(full, 1.0), ElementsAre(0.7f, 1.3f));
  EXPECT_THAT(RhoAtStrength(full, -1.0), ElementsAre(1.3f, 0.7f));
}

// The uniform rho of a preset identifies it in these tests.
double FoundRho(const std::vector<SkipTuningPreset>& presets, const std::string& name,
                const std::string& solver, int nfe) {
  const auto found = FindPreset(presets, name, solver, nfe);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() ? std::get<UniformDepth>(found->depth).rho : kNaN;
}

SkipTuningPreset Preset(const std::string& name, const std::string& solver, int nfe, double rho) {
  return {
      .name = name, .solver = solver, .nfe = nfe, .tuning = {UniformDepth{rho}, ConstantNoise{}}};
}

TEST(FindPresetTest, TakesTheNearestNfeOnALogScale) {
  const std::vector<SkipTuningPreset> presets = {Preset("default", "", 79, 0.9),
                                                 Preset("default", "", 9, 0.7),
                                                 Preset("default", "", 19, 0.8)};
  EXPECT_EQ(FoundRho(presets, "default", "heun", 9), 0.7);
  EXPECT_EQ(FoundRho(presets, "default", "heun", 1), 0.7);
  EXPECT_EQ(FoundRho(presets, "default", "heun", 13), 0.7);  // 13/9 < 19/13
  EXPECT_EQ(FoundRho(presets, "default", "heun", 14), 0.8);
  EXPECT_EQ(FoundRho(presets, "default", "heun", 38), 0.8);
  EXPECT_EQ(FoundRho(presets, "default", "heun", 39), 0.9);  // nearer to 19 on a linear scale
  EXPECT_EQ(FoundRho(presets, "default", "heun", 1000), 0.9);
}

TEST(FindPresetTest, TakesTheLowerNfeOnATie) {
  const std::vector<SkipTuningPreset> presets = {Preset("default", "", 27, 0.9),
                                                 Preset("default", "", 3, 0.7)};
  EXPECT_EQ(FoundRho(presets, "default", "heun", 9), 0.7);
}

TEST(FindPresetTest, PrefersEntriesForTheSolverToEntriesForAnySolver) {
  const std::vector<SkipTuningPreset> presets = {Preset("default", "", 9, 0.7),
                                                 Preset("default", "heun", 35, 0.9)};
  EXPECT_EQ(FoundRho(presets, "default", "heun", 9), 0.9);
  EXPECT_EQ(FoundRho(presets, "default", "euler", 35), 0.7);
}

TEST(FindPresetTest, LooksOnlyAtEntriesOfThatName) {
  const std::vector<SkipTuningPreset> presets = {Preset("default", "", 9, 0.7),
                                                 Preset("sharp", "", 35, 1.1)};
  EXPECT_EQ(FoundRho(presets, "sharp", "heun", 9), 1.1);
}

TEST(FindPresetTest, NotFoundListsTheNamesThereAre) {
  const std::vector<SkipTuningPreset> presets = {
      Preset("default", "", 9, 0.7), Preset("default", "", 19, 0.8), Preset("sharp", "heun", 9, 1)};
  absl::Status status = FindPreset(presets, "vivid", "euler", 9).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(status.message(),
            "preset: the model has no \"vivid\" for solver euler; it has \"default\" (solver any), "
            "\"sharp\" (solver heun)");

  status = FindPreset(presets, "sharp", "euler", 9).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"sharp\" (solver heun)"));

  status = FindPreset({}, "default", "heun", 9).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no presets"));
}

}  // namespace
}  // namespace skipstream
