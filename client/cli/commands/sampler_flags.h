// The flags of `skipstream generate` that say how a sample is integrated.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_SAMPLER_FLAGS_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_SAMPLER_FLAGS_H_

#include <CLI/CLI.hpp>

#include "client/cli/commands/generate_flags.h"

namespace skipstream::cli {

// Solver, NFE and noise levels. Returns --nfe.
CLI::Option* AddSamplerFlags(CLI::App& command, GenerateFlags& flags);

// What belongs to some solvers only.
void AddSolverOptionFlags(CLI::App& command, GenerateFlags& flags);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_SAMPLER_FLAGS_H_
