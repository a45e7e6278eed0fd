#include "model/network/preconditioning.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/network/strict_json.h"
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
  const PreconditioningCoefficients c = Make("EDMPrecond").At(2.0, 2.0);
  EXPECT_FLOAT_EQ(c.c_skip, 0.25f / 4.25f);
  EXPECT_FLOAT_EQ(c.c_out, 1.0f / std::sqrt(4.25f));
  EXPECT_FLOAT_EQ(c.c_in, 1.0f / std::sqrt(4.25f));
  EXPECT_FLOAT_EQ(c.c_noise, std::log(2.0f) / 4.0f);
}

TEST(PreconditioningTest, EdmWithOtherDataDeviation) {
  const PreconditioningCoefficients c = Make("EDMPrecond", R"({"sigma_data": 1})").At(1.0, 1.0);
  EXPECT_FLOAT_EQ(c.c_skip, 0.5f);
}

TEST(PreconditioningTest, VpFollowsTable1) {
  const Preconditioning vp = Make("VPPrecond");
  const PreconditioningCoefficients c = vp.At(3.0, 3.0);
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
  const PreconditioningCoefficients c = ve.At(3.0, 3.0);
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
  const PreconditioningCoefficients aligned = Make("EDMPrecond").At(2.0, 5.0);
  EXPECT_FLOAT_EQ(aligned.c_in, Make("EDMPrecond").At(2.0, 2.0).c_in);
  EXPECT_FLOAT_EQ(aligned.c_noise, Make("EDMPrecond").At(5.0, 5.0).c_noise);
}

TEST(PreconditioningTest, UnknownNamesAndForeignConstantsAreRefused) {
  const nlohmann::json json = {{"beta_d", 19.9}};
  FieldReader fields(json, "config");
  EXPECT_THAT(std::string(Preconditioning::Parse("iDDPMPrecond", fields).status().message()),
              HasSubstr("iDDPMPrecond"));
  EXPECT_TRUE(Preconditioning::Parse("EDMPrecond", fields).ok());
  EXPECT_THAT(std::string(fields.Finish().message()), HasSubstr("unknown key 'beta_d'"));
}

}  // namespace
}  // namespace skipstream
