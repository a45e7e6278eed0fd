// Plans the images and the output files of one `skipstream generate` before anything is sent.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_GENERATE_JOB_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_GENERATE_JOB_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/cli/commands/generate_flags.h"
#include "client/cli/output/output_pattern.h"
#include "client/cli/sweep/sweep.h"

namespace skipstream::cli {

struct GenerateJob {
  Sweep sweep;
  std::vector<PlannedRequest> requests;

  int num_images() const { return sweep.num_images(); }
  // Returns the position of an image in reading order, over all rows.
  int ImageIndex(int row, int column) const {
    return row * static_cast<int>(sweep.columns.size()) + column;
  }
};

// Plans the requests from the flags and the images they name; with --request, one request, as the
// file has it.
absl::StatusOr<GenerateJob> PlanJob(const GenerateFlags& flags,
                                    absl::FunctionRef<uint32_t()> draw_seed);

struct OutputPlan {
  std::string pattern;      // of the image files; empty: none are written
  std::string grid;         // file of the contact sheet; empty: none
  bool to_stdout = false;   // the only image goes to standard output
  std::string preview_dir;  // empty: none
};

// Plans the output of `job` from the flags. With neither --out nor --grid, files are named after
// class and seed, and for several rows also after NFE, rho, solver and (where it is set) guidance.
// InvalidArgument if two images would go to one file or flags contradict each other; NotFound if a
// folder does not exist.
absl::StatusOr<OutputPlan> PlanOutput(const GenerateFlags& flags, const GenerateJob& job);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_GENERATE_JOB_H_
