#include "model/diffusion/preconditioning.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "base/strict_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

Preconditioning Make(const std::string& name, const std::string& config = "{}") {
  const nlohmann::json json = nlohmann::json::parse(config);
  FieldReader fields(json, "config");
  const absl::StatusOr<Preconditioning> made = Preconditioning::Parse(name, fields);
  EXPECT_TRUE(made.ok() && fields.Finish().ok()) << made.status() << fields.Finish();
  return *made;
}

TEST(PreconditioningTest, EdmFollowsTable1) {
  const DenoiserCoefficients c = Make("EDMPrecond").At(2.0, 2.0);
  EXPECT_FLOAT_EQ(c.c_skip, 0.25f / 4.25f);
  EXPECT_FLOAT_EQ(c.c_out, 1.0f / std::sqrt(4.25f));
  EXPECT_FLOAT_EQ(c.c_in, 1.0f / std::sqrt(4.25f));
  EXPECT_FLOAT_EQ(c.c_noise, std::log(2.0f) / 4.0f);
}

TEST(PreconditioningTest, EdmWithOtherDataDeviation) {
  const DenoiserCoefficients c = Make("EDMPrecond", R"({"sigma_data": 1})").At(1.0, 1.0);
  EXPECT_FLOAT_EQ(c.c_skip, 0.5f);
}

TEST(PreconditioningTest, VpFollowsTable1) {
  const Preconditioning vp = Make("VPPrecond");
  const DenoiserCoefficients c = vp.At(3.0, 3.0);
  EXPECT_FLOAT_EQ(c.c_skip, 1.0f);
  EXPECT_FLOAT_EQ(c.c_out, -3.0f);
  EXPECT_FLOAT_EQ(c.c_in, 1.0f / std::sqrt(10.0f));
  // t(sigma(t)) = t with sigma(t)^2 + 1 = exp(19.9 t^2 / 2 + 0.1 t), at t = 0.5.
  const double sigma = std::sqrt(std::exp(19.9 * 0.125 + 0.05) - 1.0);
  EXPECT_NEAR(vp.At(sigma, sigma).c_noise, 999.0 * 0.5, 1e-3);
}

TEST(PreconditioningTest, VpLimitsAreTheOnesThePublishedNetworksState) {
  // As in the metadata of tests/data/reference/ddpmpp-vp.safetensors.
  EXPECT_EQ(Make("VPPrecond").sigma_min(), 0.0009765625);
  EXPECT_NEAR(Make("VPPrecond").sigma_max(), 152.16697692871094, 1e-4);
}

TEST(PreconditioningTest, VeFollowsTable1) {
  const Preconditioning ve = Make("VEPrecond");
  const DenoiserCoefficients c = ve.At(3.0, 3.0);
  EXPECT_FLOAT_EQ(c.c_skip, 1.0f);
  EXPECT_FLOAT_EQ(c.c_out, 3.0f);
  EXPECT_FLOAT_EQ(c.c_in, 1.0f);
  EXPECT_FLOAT_EQ(c.c_noise, std::log(1.5f));
  EXPECT_EQ(ve.sigma_min(), 0.02);
  EXPECT_EQ(ve.sigma_max(), 100.0);
  EXPECT_EQ(Make("VEPrecond", R"({"sigma_max": 50})").sigma_max(), 50.0);
}

TEST(PreconditioningTest, EdmHasNoLimitsOfItsOwn) {
  EXPECT_EQ(Make("EDMPrecond").sigma_min(), 0.0);
  EXPECT_EQ(Make("EDMPrecond").sigma_max(), std::numeric_limits<double>::infinity());
}

TEST(PreconditioningTest, TheNetworkIsToldTheConditioningSigmaAndScaledByTheRealOne) {
  const DenoiserCoefficients aligned = Make("EDMPrecond").At(2.0, 5.0);
  EXPECT_FLOAT_EQ(aligned.c_in, Make("EDMPrecond").At(2.0, 2.0).c_in);
  EXPECT_FLOAT_EQ(aligned.c_noise, Make("EDMPrecond").At(5.0, 5.0).c_noise);
}

TEST(PreconditioningTest, IddpmFollowsTable1) {
  const Preconditioning iddpm = Make("iDDPMPrecond");
  const std::vector<double> levels = iddpm.sigma_levels();
  ASSERT_EQ(levels.size(), 1000u);
  EXPECT_EQ(iddpm.sigma_max(), levels.front());
  EXPECT_EQ(iddpm.sigma_min(), levels.back());
  // u^2 + 1 = 1 / alpha_bar up to a constant where C_1 does not bind: against the closed form, in
  // the middle where float32 keeps its digits.
  const auto alpha_bar = [](int j) {
    return std::pow(std::sin(0.5 * std::numbers::pi * j / (1000 * 1.008)), 2);
  };
  for (const int j : {900, 500, 100, 10, 2}) {
    const double u = std::sqrt(alpha_bar(1000) / alpha_bar(j) - 1.0);
    EXPECT_NEAR(levels[j] / u, 1.0, 1e-3) << j;
  }
  // alpha_bar(0) is 0: here C_1 decides.
  EXPECT_NEAR(levels[0], std::sqrt((levels[1] * levels[1] + 1.0) / 0.001 - 1.0), 1e-2);

  const DenoiserCoefficients c = iddpm.At(3.0, 3.0);
  EXPECT_FLOAT_EQ(c.c_skip, 1.0f);
  EXPECT_FLOAT_EQ(c.c_out, -3.0f);
  EXPECT_FLOAT_EQ(c.c_in, 1.0f / std::sqrt(10.0f));
  EXPECT_EQ(iddpm.outputs_per_channel(), 2);
}

TEST(PreconditioningTest, IddpmTellsTheNetworkTheNearestLevel) {
  const Preconditioning iddpm = Make("iDDPMPrecond");
  const std::vector<double> levels = iddpm.sigma_levels();
  const auto told = [&](double sigma) { return iddpm.At(sigma, sigma).c_noise; };
  for (const int j : {0, 1, 500, 998, 999}) {
    EXPECT_EQ(told(levels[j]), 999.0f - static_cast<float>(j)) << j;
  }
  EXPECT_EQ(told(0.9 * levels[500] + 0.1 * levels[501]), 499.0f);
  EXPECT_EQ(told(0.1 * levels[500] + 0.9 * levels[501]), 498.0f);
  EXPECT_EQ(told(1e9), 999.0f);
  EXPECT_EQ(told(0.9 * levels[999]), 0.0f);
}

TEST(PreconditioningTest, IddpmWithOtherConstants) {
  EXPECT_EQ(Make("iDDPMPrecond", R"({"M": 40})").sigma_levels().size(), 40u);
  EXPECT_LT(Make("iDDPMPrecond", R"({"C_1": 0.01})").sigma_max(), Make("iDDPMPrecond").sigma_max());
}

TEST(PreconditioningTest, TheOthersKnowEveryLevelBetweenTheirLimits) {
  for (const char* name : {"EDMPrecond", "VPPrecond", "VEPrecond", "CMPrecond"}) {
    EXPECT_TRUE(Make(name).sigma_levels().empty()) << name;
    EXPECT_EQ(Make(name).outputs_per_channel(), 1) << name;
  }
}

TEST(PreconditioningTest, AConsistencyFunctionIsTheIdentityAtSigmaMin) {
  const Preconditioning cm = Make("CMPrecond");
  EXPECT_EQ(cm.sigma_min(), 0.002);
  EXPECT_EQ(cm.sigma_max(), 80.0);
  EXPECT_FLOAT_EQ(cm.At(0.002, 0.002).c_skip, 1.0f);
  EXPECT_EQ(cm.At(0.002, 0.002).c_out, 0.0f);
  const DenoiserCoefficients c = cm.At(2.002, 2.002);
  const float total = 2.002f * 2.002f + 0.25f;
  EXPECT_FLOAT_EQ(c.c_skip, 0.25f / 4.25f);
  EXPECT_FLOAT_EQ(c.c_out, 1.0f / std::sqrt(total));
  EXPECT_FLOAT_EQ(c.c_in, 1.0f / std::sqrt(total));
  EXPECT_FLOAT_EQ(c.c_noise, 250.0f * std::log(2.002f));
}

void ExpectConstantsRefused(const std::string& name, const std::string& config,
                            const std::string& key) {
  const nlohmann::json json = nlohmann::json::parse(config);
  FieldReader fields(json, "config");
  EXPECT_TRUE(Preconditioning::Parse(name, fields).ok());
  EXPECT_THAT(std::string(fields.Finish().message()), HasSubstr("'" + key + "'")) << config;
}

TEST(PreconditioningTest, ConstantsThatMakeNoLevelsAreRefused) {
  ExpectConstantsRefused("iDDPMPrecond", R"({"M": 1})", "M");
  ExpectConstantsRefused("iDDPMPrecond", R"({"M": 2000000000})", "M");
  ExpectConstantsRefused("iDDPMPrecond", R"({"M": 10.5})", "M");
  ExpectConstantsRefused("iDDPMPrecond", R"({"C_1": 0})", "C_1");
  ExpectConstantsRefused("iDDPMPrecond", R"({"C_1": 1})", "C_1");
  ExpectConstantsRefused("iDDPMPrecond", R"({"C_2": -0.1})", "C_2");
  // So near to each other that float32 cannot distinguish them.
  ExpectConstantsRefused("iDDPMPrecond", R"({"M": 10000, "C_2": 0})", "M");
  ExpectConstantsRefused("CMPrecond", R"({"sigma_min": 0})", "sigma_min");
  ExpectConstantsRefused("CMPrecond", R"({"sigma_min": 90})", "sigma_max");
  ExpectConstantsRefused("VEPrecond", R"({"sigma_data": 1})", "sigma_data");
}

TEST(PreconditioningTest, UnknownNamesAndForeignConstantsAreRefused) {
  const nlohmann::json json = {{"beta_d", 19.9}};
  FieldReader fields(json, "config");
  EXPECT_THAT(std::string(Preconditioning::Parse("EvilPrecond", fields).status().message()),
              HasSubstr("'EvilPrecond', not EDMPrecond"));
  EXPECT_TRUE(Preconditioning::Parse("EDMPrecond", fields).ok());
  EXPECT_THAT(std::string(fields.Finish().message()), HasSubstr("unknown key 'beta_d'"));
}

}  // namespace
}  // namespace skipstream
