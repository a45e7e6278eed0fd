// The measured order of convergence of every deterministic solver, on the probability flow of a
// Gaussian mixture between two positive levels. Multistep solvers start from an exact history, as
// their own start has a lower order.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/diffusion/sampler.h"
#include "tests/model/diffusion/gaussian_mixture.h"
#include "tests/testing/plan_interpreter.h"

namespace skipstream {
namespace {

constexpr int kHistory = 3;  // levels before the measured part

struct OrderCase {
  std::string name;
  SamplingParams params;
  Spacing spacing;
  double order;
  double sigma_max = 10.0;
  double sigma_end = 0.3;
};

OrderCase Case(Solver solver, double order) {
  SamplingParams params;
  params.solver = solver;
  params.num_skips = 1;
  return {std::string(SolverName(solver)), params, KarrasSpacing{}, order};
}

OrderCase UnipcCase(int order, UnipcVariant variant, bool corrector) {
  OrderCase result = Case(Solver::kUnipc, corrector ? order + 1 : order);
  result.params.unipc = {order, variant, corrector};
  result.name += std::to_string(order) + (variant == UnipcVariant::kBh1 ? "bh1" : "bh2") +
                 (corrector ? "corrected" : "");
  return result;
}

std::vector<OrderCase> Cases() {
  std::vector<OrderCase> cases = {Case(Solver::kEuler, 1.0), Case(Solver::kHeun, 2.0),
                                  Case(Solver::kDpm2, 2.0), Case(Solver::kDpmpp2m, 2.0),
                                  Case(Solver::kDpmpp3m, 3.0)};
  // Its coefficients are those for equal steps.
  cases.push_back(Case(Solver::kIpndm, 4.0));
  cases.back().spacing = LinearSpacing{};
  // Over a wider range equal steps are too long for what happens at its lower end.
  cases.back().sigma_max = 3.0;
  cases.back().sigma_end = 1.5;
  for (const int order : {1, 2, 3}) {
    for (const UnipcVariant variant : {UnipcVariant::kBh1, UnipcVariant::kBh2}) {
      for (const bool corrector : {false, true}) {
        cases.push_back(UnipcCase(order, variant, corrector));
      }
    }
  }
  // Without fresh noise these are deterministic solvers, too.
  cases.push_back(Case(Solver::kEulerAncestral, 1.0));
  cases.back().params.step_noise.eta = 0.0;
  cases.push_back(Case(Solver::kDpmpp2mSde, 2.0));
  cases.back().params.step_noise.eta = 0.0;
  return cases;
}

class ConvergenceTest : public testing::TestWithParam<OrderCase> {
 protected:
  // The largest error at sigma_end after `intervals` intervals from an exact start.
  double Error(int intervals) const {
    const OrderCase& the_case = GetParam();
    std::vector<double> starts = {-1.4, -0.5, -0.1, 0.2, 0.6, 1.3};
    for (double& start : starts) start *= the_case.sigma_max;
    SigmaLevels levels = SpacedLevels(the_case.spacing, intervals + kHistory + 1,
                                      the_case.sigma_end, the_case.sigma_max)
                             .value();
    SamplingParams params = the_case.params;
    params.final_sigma = levels.back();
    levels.pop_back();
    params.levels = levels;
    const SamplingPlan plan = CompilePlan(params).value();

    const GaussianMixture mixture;
    PlanInterpreter interpreter([&](double x, double sigma) { return mixture.Denoise(x, sigma); });
    interpreter.Start(plan, starts);
    SetExactHistory(mixture, levels, starts, interpreter);
    const int calls = IsTwoCallSolver(params.solver) ? 2 : 1;
    for (size_t i = kHistory * calls; i < plan.steps.size(); ++i) {
      interpreter.Apply(plan.steps[i]);
    }
    double error = 0.0;
    for (size_t s = 0; s < starts.size(); ++s) {
      const double exact = mixture.Flow(starts[s], the_case.sigma_max, the_case.sigma_end);
      error = std::max(error, std::abs(interpreter.Get(kBase)[s] - exact));
    }
    return error;
  }

 private:
  // As if the levels before the measured part had been sampled without error.
  static void SetExactHistory(const GaussianMixture& mixture, const SigmaLevels& levels,
                              const std::vector<double>& starts, PlanInterpreter& interpreter) {
    const Solver solver = GetParam().params.solver;
    std::vector<double> states[kHistory + 1];  // of levels 0 to kHistory
    std::vector<double> pushed[kHistory];
    for (int i = 0; i <= kHistory; ++i) {
      for (const double start : starts) {
        const double x = i == 0 ? start : mixture.Flow(start, levels[0], levels[i]);
        states[i].push_back(x);
        if (i == kHistory) continue;
        const double denoised = mixture.Denoise(x, levels[i]);
        pushed[i].push_back(solver == Solver::kIpndm ? (x - denoised) / levels[i] : denoised);
      }
    }
    interpreter.Set(kEval, states[kHistory]);
    // UniPC's base is a level behind: what arrived here is still to be corrected.
    const bool behind = solver == Solver::kUnipc && GetParam().params.unipc.corrector;
    interpreter.Set(kBase, states[behind ? kHistory - 1 : kHistory]);
    interpreter.Set(kH1, pushed[2]);
    interpreter.Set(kH2, pushed[1]);
    interpreter.Set(kH3, pushed[0]);
  }
};

TEST_P(ConvergenceTest, HasTheOrderOfItsPaper) {
  for (int intervals = 64; intervals <= 256; intervals *= 2) {
    const double slope = std::log2(Error(intervals) / Error(2 * intervals));
    EXPECT_NEAR(slope, GetParam().order, 0.2) << "from " << intervals << " intervals on";
  }
}

INSTANTIATE_TEST_SUITE_P(Solvers, ConvergenceTest, testing::ValuesIn(Cases()),
                         [](const auto& the_case) { return the_case.param.name; });

}  // namespace
}  // namespace skipstream
