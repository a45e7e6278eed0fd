// Defines the flags of `skipstream generate`.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_GENERATE_FLAGS_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_GENERATE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/flags/connection_flags.h"
#include "client/cli/sweep/sweep.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::cli {

struct GenerateFlags {
  ConnectionFlags connection;
  // Holds everything but the axes. Untouched fields are the server's defaults.
  v1::GenerateRequest base;
  SweepAxes axes;
  std::string image_file;    // becomes base.input_image.picture
  std::string mask_file;     // becomes base.input_image.mask
  std::string request_file;  // instead of all above

  std::string out;  // file, pattern or "-"; empty: see ResolveOutput()
  std::string grid;
  std::string title;
  std::string preview_dir;
  int max_concurrent = 32;
  bool json = false;
  bool quiet = false;
  double timeout_seconds = 0;  // 0: none
  std::string request_id;      // empty: drawn
};

// Registers the flags; parsing fills `flags`, which outlives `command`.
void AddGenerateFlags(CLI::App& command, GenerateFlags& flags);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_GENERATE_FLAGS_H_
