#include "model/diffusion/multistep_solvers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace skipstream {
namespace {

// Lists the registers of the denoised images of this level and the three before it.
constexpr Register kDenoisedHistory[] = {kDenoised, kH1, kH2, kH3};

// Schedules this short lose order before they end at 0.
constexpr size_t kShortSchedule = 15;

// phi_k(z) = (phi_{k-1}(z) - 1 / (k-1)!) / z, phi_0(z) = e^z: integrals of e^z times powers.
double Phi(int k, double z) {
  if (std::abs(z) < 1.0) {  // the series, where the recursion cancels
    double factorial = 1.0;
    for (int i = 2; i <= k; ++i) factorial *= i;
    double term = 1.0 / factorial;
    double sum = term;
    for (int i = 1; i <= 20; ++i) {
      term *= z / (k + i);
      sum += term;
    }
    return sum;
  }
  double value = std::expm1(z) / z;
  double factorial = 1.0;
  for (int i = 2; i <= k; ++i) {
    factorial *= i - 1;
    value = (value - 1.0 / factorial) / z;
  }
  return value;
}

// lambda(b) - lambda(a).
double LambdaStep(double sigma_a, double sigma_b) { return std::log(sigma_a) - std::log(sigma_b); }

// The step that reads `row` and keeps D for later ones.
SolverStep HistoryStep(double sigma, const UpdateCoefficients& row, double noise) {
  SolverStep step;
  step.sigma = sigma;
  Commit(row, noise, step);
  step.push = true;
  step.a[kPushed][kDenoised] = 1.0;
  return step;
}

// Adds weight * (first divided difference of D from history entry `newer` to `newer` + 1), scaled
// by h: (D_newer - D_older) / r.
void AddDifference(double weight, double r, int newer, UpdateCoefficients& row) {
  row[kDenoisedHistory[newer]] += weight / r;
  row[kDenoisedHistory[newer + 1]] -= weight / r;
}

}  // namespace

std::vector<SolverStep> DpmppSteps(const StepPoints& points, int order, bool halved_curvature) {
  std::vector<SolverStep> steps;
  const size_t n = points.size() - 1;
  const bool ends_at_zero = points[n].sigma == 0.0;
  for (size_t i = 0; i < n; ++i) {
    const double from = points[i].sigma;
    const double to = points[i + 1].sigma;
    UpdateCoefficients row = EulerUpdate(from, to);
    int step_order = std::min(order, static_cast<int>(i) + 1);
    if (ends_at_zero && n < kShortSchedule && i + 2 == n) step_order = std::min(step_order, 2);
    if (to > 0.0 && step_order > 1) {
      const double h = LambdaStep(from, to);
      const double r0 = LambdaStep(points[i - 1].sigma, from) / h;
      if (step_order == 2) {
        AddDifference(0.5 * (1.0 - to / from), r0, 0, row);
      } else {
        // Newton's polynomial through three points: its derivatives at lambda(from) are
        //   h D'     = d0 + r0 / (r0 + r1) (d0 - d1)
        //   h^2 D''  = 2 (d0 - d1) / (r0 + r1).
        const double r1 = LambdaStep(points[i - 2].sigma, points[i - 1].sigma) / h;
        const double first = h * Phi(2, -h);
        const double second = h * Phi(3, -h) * (halved_curvature ? 1.0 : 2.0) / (r0 + r1);
        const double change = first * r0 / (r0 + r1) + second;
        AddDifference(first + change, r0, 0, row);
        AddDifference(-change, r1, 1, row);
      }
    }
    steps.push_back(HistoryStep(from, row, 0.0));
  }
  return steps;
}

std::vector<SolverStep> Dpmpp2mSdeSteps(const StepPoints& points, const StepNoise& noise) {
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    const double from = points[i].sigma;
    const double to = points[i + 1].sigma;
    UpdateCoefficients row = EulerUpdate(from, to);
    double added = 0.0;
    if (to > 0.0) {
      const double h = LambdaStep(from, to);
      row[kEval] = to / from * std::exp(-noise.eta * h);
      row[kDenoised] = -std::expm1(-(1.0 + noise.eta) * h);
      if (i > 0) {
        AddDifference(0.5 * row[kDenoised], LambdaStep(points[i - 1].sigma, from) / h, 0, row);
      }
      added = to * std::sqrt(-std::expm1(-2.0 * noise.eta * h)) * noise.s_noise;
    }
    steps.push_back(HistoryStep(from, row, added));
  }
  return steps;
}

namespace {

// One UniP or UniC update, from `from` to `to`, as a combination of a state at `from` and of
// denoised images.
struct UnipcUpdate {
  double state = 0.0;            // of the state at `from`
  double denoised = 0.0;         // of D at `from`
  std::vector<double> older;     // of D at the levels before it, newest first
  double denoised_at_end = 0.0;  // of D at `to`; 0 for the predictor
};

// Solves sum_k rho_k r_k^(i-1) = b_i, i = 1..order (Eq. 6 of the paper: C_p with B(h) divided out).
std::vector<double> SolveVandermonde(const std::vector<double>& r, std::vector<double> b) {
  const size_t n = r.size();
  std::vector<std::vector<double>> rows(n, std::vector<double>(n, 1.0));
  for (size_t i = 1; i < n; ++i) {
    for (size_t k = 0; k < n; ++k) rows[i][k] = rows[i - 1][k] * r[k];
  }
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t i = column + 1; i < n; ++i) {
      if (std::abs(rows[i][column]) > std::abs(rows[pivot][column])) pivot = i;
    }
    std::swap(rows[column], rows[pivot]);
    std::swap(b[column], b[pivot]);
    for (size_t i = column + 1; i < n; ++i) {
      const double factor = rows[i][column] / rows[column][column];
      for (size_t k = column; k < n; ++k) rows[i][k] -= factor * rows[column][k];
      b[i] -= factor * b[column];
    }
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= rows[i][k] * b[k];
    b[i] /= rows[i][i];
  }
  return b;
}

// `older`: levels before `from`, newest first; order - 1 of them are used. The corrector also uses
// D at `to`.
UnipcUpdate UnipcCoefficients(double from, double to, const std::vector<double>& older, int order,
                              UnipcVariant variant, bool corrector) {
  UnipcUpdate update;
  update.state = to / from;
  update.denoised = 1.0 - to / from;
  update.older.resize(order - 1, 0.0);
  if (to == 0.0 || (order == 1 && !corrector)) return update;

  const double h = LambdaStep(from, to);
  const double z = -h;
  const double b_h = variant == UnipcVariant::kBh1 ? z : std::expm1(z);
  std::vector<double> r;
  for (int i = 0; i + 1 < order; ++i) r.push_back(LambdaStep(from, older[i]) / h);
  if (corrector) r.push_back(1.0);

  std::vector<double> rho = {0.5};  // of a single unknown, whatever B(h) is (Section 3.2)
  if (r.size() > 1) {
    std::vector<double> b;
    double factorial = 1.0;
    for (size_t i = 1; i <= r.size(); ++i) {
      factorial *= static_cast<double>(i);
      b.push_back(z * Phi(static_cast<int>(i) + 1, z) * factorial / b_h);
    }
    rho = SolveVandermonde(r, std::move(b));
  }
  for (int i = 0; i + 1 < order; ++i) {
    const double weight = -b_h * rho[i] / r[i];
    update.older[i] += weight;
    update.denoised -= weight;
  }
  if (corrector) {
    update.denoised_at_end = -b_h * rho.back();
    update.denoised -= update.denoised_at_end;
  }
  return update;
}

std::vector<double> LevelsBefore(const StepPoints& points, size_t i) {
  std::vector<double> levels;
  for (size_t back = 1; back <= std::min<size_t>(i, 2); ++back) {
    levels.push_back(points[i - back].sigma);
  }
  return levels;
}

}  // namespace

std::vector<SolverStep> UnipcSteps(const StepPoints& points, const Unipc& unipc) {
  std::vector<SolverStep> steps;
  const size_t n = points.size() - 1;
  const bool ends_at_zero = points[n].sigma == 0.0;
  int arrived_with = 0;  // order of the predictor that made `eval`
  for (size_t i = 0; i < n; ++i) {
    SolverStep step;
    step.sigma = points[i].sigma;

    // The state at this level: the predicted one in `eval`, or the one corrected from `base`.
    UpdateCoefficients& state = step.a[kNextBase];
    if (i > 0 && unipc.corrector) {
      const UnipcUpdate corrected =
          UnipcCoefficients(points[i - 1].sigma, points[i].sigma, LevelsBefore(points, i - 1),
                            arrived_with, unipc.variant, /*corrector=*/true);
      state[kBase] = corrected.state;
      state[kDenoised] = corrected.denoised_at_end;
      state[kH1] = corrected.denoised;
      for (size_t k = 0; k < corrected.older.size(); ++k) {
        state[kDenoisedHistory[k + 2]] = corrected.older[k];
      }
    } else {
      state[kEval] = 1.0;
    }

    int order = std::min(unipc.order, static_cast<int>(i) + 1);
    if (ends_at_zero) order = std::min(order, static_cast<int>(n - i));
    const UnipcUpdate predicted =
        UnipcCoefficients(points[i].sigma, points[i + 1].sigma, LevelsBefore(points, i), order,
                          unipc.variant, /*corrector=*/false);
    arrived_with = order;
    UpdateCoefficients& next = step.a[kNextEval];
    for (int reg = 0; reg < kNumRegisters; ++reg) next[reg] = predicted.state * state[reg];
    next[kDenoised] += predicted.denoised;
    for (size_t k = 0; k < predicted.older.size(); ++k) {
      next[kDenoisedHistory[k + 1]] += predicted.older[k];
    }
    if (i + 1 == n) state = next;  // nothing will correct it

    step.push = true;
    step.a[kPushed][kDenoised] = 1.0;
    steps.push_back(step);
  }
  return steps;
}

std::vector<SolverStep> IpndmSteps(const StepPoints& points) {
  constexpr std::array<std::array<double, 4>, 4> kAdamsBashforth = {
      {{1.0, 0.0, 0.0, 0.0},
       {3.0 / 2.0, -1.0 / 2.0, 0.0, 0.0},
       {23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0, 0.0},
       {55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0}}};
  std::vector<SolverStep> steps;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    const double from = points[i].sigma;
    const double to = points[i + 1].sigma;
    UpdateCoefficients row = EulerUpdate(from, to);
    if (to > 0.0) {
      const std::array<double, 4>& weights = kAdamsBashforth[std::min<size_t>(i, 3)];
      const double length = to - from;
      row = {};
      row[kEval] = 1.0 + length * weights[0] / from;
      row[kDenoised] = -length * weights[0] / from;
      row[kH1] = length * weights[1];
      row[kH2] = length * weights[2];
      row[kH3] = length * weights[3];
    }
    SolverStep step;
    step.sigma = from;
    Commit(row, 0.0, step);
    step.push = true;  // the slope
    step.a[kPushed][kEval] = 1.0 / from;
    step.a[kPushed][kDenoised] = -1.0 / from;
    steps.push_back(step);
  }
  return steps;
}

}  // namespace skipstream
