// `load` and `unload`: what ModelControl does, for a person at a terminal.
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cc/skipstream_client.h"
#include "client/cli/commands.h"
#include "client/cli/connection_flags.h"
#include "client/cli/message_json.h"
#include "client/cli/user_errors.h"

namespace skipstream::cli {
namespace {

struct LoadFlags {
  ConnectionFlags connection;
  std::string file;
  std::string name;
  bool replace = false;
  double timeout_seconds = 600;
  bool json = false;
};

struct UnloadFlags {
  ConnectionFlags connection;
  std::string name;
  double timeout_seconds = 30;
};

absl::Time Deadline(double timeout_seconds) { return absl::Now() + absl::Seconds(timeout_seconds); }

void AddTimeoutFlag(CLI::App& command, double& seconds) {
  command
      .add_option("--timeout", seconds,
                  absl::StrCat("Give up after so long (default: ", seconds, ")"))
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber.description(""));
}

int RunLoad(const LoadFlags& flags) {
  const absl::StatusOr<client::Client::Options> options = ClientOptionsOf(flags.connection);
  if (!options.ok()) return ReportFlagError(options.status());
  client::Client client(*options);
  const absl::StatusOr<v1::LoadResponse> loaded =
      client.LoadModel(flags.file, flags.name, flags.replace, Deadline(flags.timeout_seconds));
  if (!loaded.ok()) {
    std::cerr << ExplainError(loaded.status(), flags.connection.server);
    return kExitFailure;
  }
  if (flags.json) {
    std::cout << MessageToPrettyJson(*loaded);
    return kExitOk;
  }
  std::cout << loaded->name() << " " << loaded->sha256();
  if (!loaded->replaced_sha256().empty()) {
    std::cout << " in place of " << loaded->replaced_sha256();
  }
  std::cout << "\n";
  return kExitOk;
}

int RunUnload(const UnloadFlags& flags) {
  const absl::StatusOr<client::Client::Options> options = ClientOptionsOf(flags.connection);
  if (!options.ok()) return ReportFlagError(options.status());
  client::Client client(*options);
  const absl::Status status = client.UnloadModel(flags.name, Deadline(flags.timeout_seconds));
  if (status.ok()) return kExitOk;
  std::cerr << ExplainError(status, flags.connection.server);
  return kExitFailure;
}

}  // namespace

Command AddLoadCommand(CLI::App& app) {
  auto flags = std::make_shared<LoadFlags>();
  CLI::App* command = app.add_subcommand(
      "load", "Load a model into a running server (started with --enable_model_control)");
  command->add_option("file", flags->file, "File in the server's --model_dir")
      ->type_name("")
      ->required();
  command
      ->add_option("--name", flags->name,
                   "Offer it under this name (default: the file without its ending)")
      ->type_name("NAME");
  command->add_flag("--replace", flags->replace,
                    "Take the place of the model of that name; running requests finish on the old");
  AddConnectionFlags(*command, flags->connection);
  AddTimeoutFlag(*command, flags->timeout_seconds);
  command->add_flag("--json", flags->json, "Print JSON");
  return [flags] { return RunLoad(*flags); };
}

Command AddUnloadCommand(CLI::App& app) {
  auto flags = std::make_shared<UnloadFlags>();
  CLI::App* command =
      app.add_subcommand("unload", "Stop offering a model; running requests finish");
  command->add_option("name", flags->name, "Model to unload")->type_name("")->required();
  AddConnectionFlags(*command, flags->connection);
  AddTimeoutFlag(*command, flags->timeout_seconds);
  return [flags] { return RunUnload(*flags); };
}

}  // namespace skipstream::cli
