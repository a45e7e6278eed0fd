// Whole trajectories against references that share no code with the sampler: independent float64
// implementations and diffusers' schedulers. tools/golden makes the data; its README describes it.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/diffusion/sampler.h"
#include "nlohmann/json.hpp"
#include "tests/model/diffusion/gaussian_mixture.h"
#include "tests/testing/plan_interpreter.h"

namespace skipstream {
namespace {

using nlohmann::json;
using Vector = std::vector<double>;

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SKIPSTREAM_GOLDEN_DIR)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() == ".json" && name != "schedules") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

json ReadGolden(const std::string& name) {
  std::ifstream file(std::string(SKIPSTREAM_GOLDEN_DIR) + "/" + name + ".json");
  return json::parse(file);
}

// Largest difference relative to the largest value.
double RelativeError(const Vector& actual, const Vector& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double difference = 0.0;
  double magnitude = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i])) return INFINITY;
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
    magnitude = std::max(magnitude, std::abs(expected[i]));
  }
  return difference / magnitude;
}

SamplingParams ParamsOf(const json& golden) {
  SamplingParams params;
  params.solver = SolverFromName(golden.at("solver").get<std::string>()).value();
  params.levels = golden.at("sigmas").get<Vector>();
  params.final_sigma = golden.at("final").is_string() ? 0.0 : golden.at("final").get<double>();
  params.num_skips = 1;
  for (const auto& [key, value] : golden.at("parameters").items()) {
    if (key == "s_churn") {
      params.churn.s_churn = value.get<double>();
    } else if (key == "s_min") {
      params.churn.s_min = value.get<double>();
    } else if (key == "s_max") {
      params.churn.s_max = value.is_number() ? value.get<double>() : INFINITY;
    } else if (key == "s_noise") {
      params.churn.s_noise = value.get<double>();
      params.step_noise.s_noise = value.get<double>();
    } else if (key == "eta") {
      params.step_noise.eta = value.get<double>();
    } else if (key == "order") {
      params.unipc.order = value.get<int>();
    } else if (key == "variant" && params.solver == Solver::kDpmpp3m) {
      params.dpmpp_3m_halved_curvature = value == "published";
    } else if (key == "variant") {
      params.unipc.variant = value == "bh1" ? UnipcVariant::kBh1 : UnipcVariant::kBh2;
    } else if (key == "corrector") {
      params.unipc.corrector = value.get<bool>();
    } else if (key == "sigma_eps") {
      params.consistency_sigma_min = value.get<double>();
    } else {
      ADD_FAILURE() << "a parameter this test does not know: " << key;
    }
  }
  return params;
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, PlansFollowTheReference) {
  const json file = ReadGolden(GetParam());
  const double tolerance = file.at("tolerance");
  const json& mixture_json = file.at("mixture");
  const GaussianMixture mixture = {.means = mixture_json.at("means"),
                                   .stddevs = mixture_json.at("stds"),
                                   .weights = mixture_json.at("weights")};
  const Vector latents = file.at("latents");
  ASSERT_FALSE(file.at("cases").empty());
  for (const json& golden : file.at("cases")) {
    SCOPED_TRACE(golden.at("name").get<std::string>());
    const SamplingParams params = ParamsOf(golden);
    const auto plan = CompilePlan(params);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->nfe(), golden.at("evaluations").get<int>());

    size_t drawn = 0;  // numbers of the file's noise, vector after vector
    const NormalSource injected = [&] {
      const size_t index = drawn++;
      return file.at("noises").at(index / latents.size()).at(index % latents.size()).get<double>();
    };
    PlanInterpreter interpreter([&](double x, double sigma) { return mixture.Denoise(x, sigma); },
                                injected);
    interpreter.Start(*plan, latents);
    for (size_t i = 0; i < plan->steps.size(); ++i) {
      const double called_at = golden.at("call_sigmas").at(i);
      EXPECT_NEAR(plan->steps[i].sigma / called_at, 1.0, tolerance) << "call " << i;
      const Vector state = golden.at("call_states").at(i);
      EXPECT_LT(RelativeError(interpreter.Get(kEval), state), tolerance) << "call " << i;
      interpreter.Apply(plan->steps[i]);
    }
    EXPECT_LT(RelativeError(interpreter.Get(kBase), golden.at("expected").get<Vector>()),
              tolerance);
    EXPECT_EQ(drawn, golden.at("noises_used").get<size_t>() * latents.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTest, testing::ValuesIn(GoldenFiles()),
                         [](const auto& name) { return name.param; });

TEST(GoldenFilesTest, ThereIsOneForEverySolver) {
  const std::vector<std::string> names = GoldenFiles();
  for (const Solver solver : AllSolvers()) {
    EXPECT_EQ(std::count(names.begin(), names.end(), SolverName(solver)), 1) << SolverName(solver);
  }
}

TEST(GoldenScheduleTest, LevelsFollowTheReference) {
  const json file = ReadGolden("schedules");
  ASSERT_FALSE(file.at("cases").empty());
  for (const json& golden : file.at("cases")) {
    const std::string name = golden.at("schedule");
    const json& parameters = golden.at("parameters");
    SCOPED_TRACE(name + " " + parameters.dump());
    Spacing spacing = ExponentialSpacing{};  // VE has the same levels
    if (name == "karras") {
      spacing = KarrasSpacing{parameters.at("exponent")};
    } else if (name == "linear") {
      spacing = LinearSpacing{};
    } else if (name == "vp") {
      spacing = VpSpacing{};
    } else if (name == "iddpm") {
      spacing = IddpmSpacing{};
    } else {
      ASSERT_TRUE(name == "exponential" || name == "ve");
    }
    const auto levels = SpacedLevels(spacing, parameters.at("n"), parameters.at("sigma_min"),
                                     parameters.at("sigma_max"));
    ASSERT_TRUE(levels.ok()) << levels.status();
    const Vector expected = golden.at("expected");
    ASSERT_EQ(levels->size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR((*levels)[i] / expected[i], 1.0, file.at("tolerance").get<double>()) << i;
    }
  }
}

}  // namespace
}  // namespace skipstream
