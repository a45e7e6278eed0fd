// Expands a sweep, rows (NFE x rho x guidance x solver) by columns (class x seed), into requests.
#ifndef SKIPSTREAM_CLIENT_CLI_SWEEP_SWEEP_H_
#define SKIPSTREAM_CLIENT_CLI_SWEEP_SWEEP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/cli/flags/list_parser.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::cli {

// Holds the lists of the flags. Empty: not given.
struct SweepAxes {
  std::vector<int> nfe;
  std::vector<double> rho;
  std::vector<double> guidance;  // scales
  std::vector<v1::Solver> solvers;
  std::vector<RowSpec> rows;  // instead of nfe and rho (and solvers where a row names one)
  std::vector<v1::ClassSelector> classes;
  std::vector<uint32_t> seeds;
  std::optional<int> count;
  bool cross = false;  // never pair seeds with classes
};

struct ColumnSpec {
  std::optional<v1::ClassSelector> class_selector;
  uint32_t seed = 0;
};

struct Sweep {
  std::vector<RowSpec> rows;        // at least one
  std::vector<ColumnSpec> columns;  // at least one
  bool is_sweep = false;            // some list has several values: the sheet is labelled
  int num_images() const { return static_cast<int>(rows.size() * columns.size()); }
};

// Expands rows and columns. Rows are the cross product of nfe, rho, guidance and solvers in this
// order, or `rows` as listed. A listed row gets every guidance, and every solver unless it names
// one. If there are several classes and equally many seeds, class i is paired with seed i;
// otherwise every class gets every seed. Without seeds, `count` (or 1) are drawn, the same in every
// row. One seed and a count give seed, seed + 1, ... (wrapping at 2^32). Several seeds and a
// different count are an error.
absl::StatusOr<Sweep> ExpandSweep(const SweepAxes& axes, absl::FunctionRef<uint32_t()> draw_seed);

struct PlannedRequest {
  v1::GenerateRequest request;
  int row = 0;
  int first_column = 0;  // image i of the request belongs to column first_column + i
};

// Makes one request per row and up to `images_per_request` columns. Each is `base` with the row's
// and the columns' values filled in, and the options of its solver as FitSolverOptions() leaves
// them.
std::vector<PlannedRequest> PlanRequests(const Sweep& sweep, const v1::GenerateRequest& base,
                                         int images_per_request);

// Returns "2.0" (at least one decimal); "1.0", no guidance, if unset.
std::string DescribeGuidance(const v1::Guidance& guidance);

// Returns "0.9" (at least one decimal), "0.9-1.1" (linear), "list", the preset's name; "1.0" if
// unset.
std::string DescribeRho(const v1::SkipTuning& tuning);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_SWEEP_SWEEP_H_
