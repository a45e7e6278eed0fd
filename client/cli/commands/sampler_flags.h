// Adds the flags of `skipstream generate` that control the sampler.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_SAMPLER_FLAGS_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_SAMPLER_FLAGS_H_

#include <CLI/CLI.hpp>

#include "client/cli/commands/generate_flags.h"

namespace skipstream::cli {

// Adds solver, NFE and noise levels. Returns --nfe.
CLI::Option* AddSamplerFlags(CLI::App& command, GenerateFlags& flags);

// Adds the options that belong to some solvers only.
void AddSolverOptionFlags(CLI::App& command, GenerateFlags& flags);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_SAMPLER_FLAGS_H_
