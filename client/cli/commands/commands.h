// Defines the subcommands of `skipstream`. Each registers itself and returns the function that runs
// it: call it after parsing, it returns the exit code.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_COMMANDS_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace skipstream::cli {

using Command = std::function<int()>;

Command AddGenerateCommand(CLI::App& app);
Command AddModelsCommand(CLI::App& app);
Command AddLoadCommand(CLI::App& app);
Command AddUnloadCommand(CLI::App& app);
Command AddHealthCommand(CLI::App& app);
Command AddTokenCommand(CLI::App& app);

// Runs the whole command: parses, runs one subcommand, returns the exit code.
int RunSkipstream(int argc, char** argv);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_COMMANDS_H_
