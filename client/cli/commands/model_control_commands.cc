// `load` and `unload`: what ModelControl does, for a person at a terminal.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cc/skipstream_client.h"
#include "client/cli/commands/commands.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/flag_helpers.h"
#include "client/cli/output/message_json.h"
#include "client/cli/output/output.h"
#include "client/cli/output/text.h"
#include "client/cli/output/user_errors.h"

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

client::Deadline DeadlineOf(double timeout_seconds) {
  return client::Deadline::In(absl::Seconds(timeout_seconds));
}

int RunLoad(const LoadFlags& flags) {
  const absl::StatusOr<client::Client::Options> options = ClientOptionsOf(flags.connection);
  if (!options.ok()) return ReportFlagError(options.status());
  client::Client client(*options);
  const absl::StatusOr<v1::LoadResponse> loaded =
      client.LoadModel(flags.file, flags.name, flags.replace, DeadlineOf(flags.timeout_seconds));
  if (!loaded.ok()) return ReportError(loaded.status(), flags.connection.server);
  if (flags.json) return PrintOutput(MessageToPrettyJson(*loaded), kExitOk);
  std::string line = absl::StrCat(loaded->name(), " ", loaded->sha256());
  if (!loaded->replaced_sha256().empty()) {
    absl::StrAppend(&line, " in place of ", loaded->replaced_sha256());
  }
  return PrintOutput(absl::StrCat(Printable(line), "\n"), kExitOk);
}

int RunUnload(const UnloadFlags& flags) {
  const absl::StatusOr<client::Client::Options> options = ClientOptionsOf(flags.connection);
  if (!options.ok()) return ReportFlagError(options.status());
  client::Client client(*options);
  const absl::Status status = client.UnloadModel(flags.name, DeadlineOf(flags.timeout_seconds));
  if (status.ok()) return kExitOk;
  return ReportError(status, flags.connection.server);
}

}  // namespace

Command AddLoadCommand(CLI::App& app) {
  auto flags = std::make_shared<LoadFlags>();
  CLI::App* command = app.add_subcommand(
      "load", "Load a model into a running server (started with --enable_model_control)");
  command->add_option("file", flags->file, "File in the server's --model_dir")
      ->type_name("")
      ->required()
      ->check(Utf8());
  command
      ->add_option("--name", flags->name,
                   "Offer it under this name (default: the file without its ending)")
      ->type_name("NAME")
      ->check(Utf8());
  command->add_flag("--replace", flags->replace,
                    "Take the place of the model of that name; running requests finish on the old");
  AddConnectionFlags(*command, flags->connection);
  AddTimeoutFlag(*command, flags->timeout_seconds, "600");
  command->add_flag("--json", flags->json, "Print JSON");
  return [flags] { return RunLoad(*flags); };
}

Command AddUnloadCommand(CLI::App& app) {
  auto flags = std::make_shared<UnloadFlags>();
  CLI::App* command =
      app.add_subcommand("unload", "Stop offering a model; running requests finish");
  command->add_option("name", flags->name, "Model to unload")
      ->type_name("")
      ->required()
      ->check(Utf8());
  AddConnectionFlags(*command, flags->connection);
  AddTimeoutFlag(*command, flags->timeout_seconds, "30");
  return [flags] { return RunUnload(*flags); };
}

}  // namespace skipstream::cli
