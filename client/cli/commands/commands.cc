#include "client/cli/commands/commands.h"

#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "client/cli/flags/help_formatter.h"
#include "client/cli/output/output.h"
#include "client/cli/output/text.h"
#include "client/cli/output/user_errors.h"

namespace skipstream::cli {

namespace {

int ParseAndRun(int argc, char** argv) {
  // gRPC's own messages would garble the command's; a user who wants them sets the variable.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  CLI::App app("Images from skip-tuned diffusion models, made by a Skipstream server.",
               "skipstream");
  app.set_version_flag("--version", std::string("skipstream ") + SKIPSTREAM_VERSION);
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormatter>());  // inherited by the subcommands
  std::map<std::string, Command> commands = {
      {"generate", AddGenerateCommand(app)}, {"models", AddModelsCommand(app)},
      {"load", AddLoadCommand(app)},         {"unload", AddUnloadCommand(app)},
      {"health", AddHealthCommand(app)},     {"token", AddTokenCommand(app)}};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked_for = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    std::ostringstream out, err;
    app.exit(error, out, err);
    std::cerr << PrintableLines(err.str());
    return PrintOutput(out.str(), asked_for ? kExitOk : kExitUsage);
  }
  return commands.at(app.get_subcommands().front()->get_name())();
}

}  // namespace

int RunSkipstream(int argc, char** argv) {
  try {
    return ParseAndRun(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "error: " << Printable(error.what()) << "\n";
    return kExitFailure;
  }
}

}  // namespace skipstream::cli
