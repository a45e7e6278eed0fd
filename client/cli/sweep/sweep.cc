#include "client/cli/sweep/sweep.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/flags/solver_options.h"

namespace skipstream::cli {
namespace {

// One empty entry stands for an axis that was not given.
template <typename T>
std::vector<std::optional<T>> Axis(const std::vector<T>& values) {
  if (values.empty()) return {std::nullopt};
  return {values.begin(), values.end()};
}

std::vector<RowSpec> ExpandRows(const SweepAxes& axes) {
  std::vector<RowSpec> listed = axes.rows;
  if (listed.empty()) {
    for (const std::optional<int>& nfe : Axis(axes.nfe)) {
      for (const std::optional<double>& rho : Axis(axes.rho)) listed.push_back({nfe, rho, {}, {}});
    }
  }
  std::vector<RowSpec> rows;
  for (const RowSpec& row : listed) {
    for (const std::optional<double>& guidance : Axis(axes.guidance)) {
      if (row.solver) {
        rows.push_back({row.nfe, row.rho, guidance, row.solver});
        continue;
      }
      for (const std::optional<v1::Solver>& solver : Axis(axes.solvers)) {
        rows.push_back({row.nfe, row.rho, guidance, solver});
      }
    }
  }
  return rows;
}

absl::StatusOr<std::vector<uint32_t>> ExpandSeeds(const SweepAxes& axes,
                                                  absl::FunctionRef<uint32_t()> draw_seed) {
  std::vector<uint32_t> seeds = axes.seeds;
  const int count = axes.count.value_or(seeds.empty() ? 1 : static_cast<int>(seeds.size()));
  if (seeds.size() > 1 && static_cast<int>(seeds.size()) != count) {
    return absl::InvalidArgumentError(
        absl::StrCat("--count ", count, " does not fit ", seeds.size(),
                     " seeds: give one seed, as many as --count, or leave --count out"));
  }
  while (static_cast<int>(seeds.size()) < count) {
    seeds.push_back(axes.seeds.empty() ? draw_seed()
                                       : axes.seeds[0] + static_cast<uint32_t>(seeds.size()));
  }
  return seeds;
}

std::string WithADecimal(double value) {
  std::string text = absl::StrCat(value);
  if (text.find_first_not_of("0123456789") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

absl::StatusOr<Sweep> ExpandSweep(const SweepAxes& axes, absl::FunctionRef<uint32_t()> draw_seed) {
  const absl::StatusOr<std::vector<uint32_t>> seeds = ExpandSeeds(axes, draw_seed);
  if (!seeds.ok()) return seeds.status();

  Sweep sweep;
  sweep.rows = ExpandRows(axes);
  const bool paired =
      !axes.cross && axes.classes.size() > 1 && axes.classes.size() == axes.seeds.size();
  if (paired) {
    for (size_t i = 0; i < axes.classes.size(); ++i) {
      sweep.columns.push_back({axes.classes[i], axes.seeds[i]});
    }
  } else {
    for (const std::optional<v1::ClassSelector>& selector : Axis(axes.classes)) {
      for (uint32_t seed : *seeds) sweep.columns.push_back({selector, seed});
    }
  }
  sweep.is_sweep = sweep.rows.size() > 1 || axes.classes.size() > 1 || axes.seeds.size() > 1;
  return sweep;
}

std::vector<PlannedRequest> PlanRequests(const Sweep& sweep, const v1::GenerateRequest& base,
                                         int images_per_request) {
  std::vector<PlannedRequest> planned;
  const int num_columns = static_cast<int>(sweep.columns.size());
  for (int row = 0; row < static_cast<int>(sweep.rows.size()); ++row) {
    for (int first = 0; first < num_columns; first += images_per_request) {
      PlannedRequest next{base, row, first};
      const RowSpec& spec = sweep.rows[row];
      if (spec.nfe) next.request.mutable_sampler()->set_nfe(*spec.nfe);
      if (spec.solver) next.request.mutable_sampler()->set_solver(*spec.solver);
      if (spec.rho) next.request.mutable_skip_tuning()->set_rho(*spec.rho);
      if (spec.guidance) next.request.mutable_guidance()->set_scale(*spec.guidance);
      const int end = std::min(first + images_per_request, num_columns);
      next.request.set_count(end - first);
      for (int column = first; column < end; ++column) {
        next.request.add_seeds(sweep.columns[column].seed);
        if (sweep.columns[column].class_selector) {
          *next.request.add_classes() = *sweep.columns[column].class_selector;
        }
      }
      planned.push_back(std::move(next));
    }
  }
  std::vector<v1::Sampler*> samplers;
  for (PlannedRequest& next : planned) {
    if (next.request.has_sampler()) samplers.push_back(next.request.mutable_sampler());
  }
  FitSolverOptions(samplers);
  return planned;
}

std::string DescribeGuidance(const v1::Guidance& guidance) {
  return WithADecimal(guidance.has_scale() ? guidance.scale() : 1.0);
}

std::string DescribeRho(const v1::SkipTuning& tuning) {
  switch (tuning.depth_case()) {
    case v1::SkipTuning::kRho:
      return WithADecimal(tuning.rho());
    case v1::SkipTuning::kLinear:
      return absl::StrCat(
          WithADecimal(tuning.linear().has_bottom() ? tuning.linear().bottom() : 1.0), "-",
          WithADecimal(tuning.linear().has_top() ? tuning.linear().top() : 1.0));
    case v1::SkipTuning::kExplicitRho: {
      const auto& rho = tuning.explicit_rho().rho();
      const bool uniform = !rho.empty() && std::all_of(rho.begin(), rho.end(),
                                                       [&](double r) { return r == rho[0]; });
      return uniform ? WithADecimal(rho[0]) : "list";
    }
    case v1::SkipTuning::kPreset:
      return tuning.preset();
    case v1::SkipTuning::DEPTH_NOT_SET:
      return "1.0";
  }
  return "";
}

}  // namespace skipstream::cli
