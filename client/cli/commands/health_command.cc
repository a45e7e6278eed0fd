#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"
#include "client/cc/skipstream_client.h"
#include "client/cli/commands/commands.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/flag_helpers.h"
#include "client/cli/output/message_json.h"
#include "client/cli/output/output.h"
#include "client/cli/output/user_errors.h"

namespace skipstream::cli {
namespace {

struct HealthFlags {
  ConnectionFlags connection;
  std::string service = "readiness";
  double timeout_seconds = 5;
  bool json = false;
};

int RunHealth(const HealthFlags& flags) {
  const absl::StatusOr<client::Client::Options> options = ClientOptionsOf(flags.connection);
  if (!options.ok()) return ReportFlagError(options.status());
  client::Client client(*options);
  const absl::StatusOr<bool> serving =
      client.CheckHealth(flags.service, client::Deadline::In(absl::Seconds(flags.timeout_seconds)));
  std::string text;
  if (flags.json) {
    nlohmann::ordered_json json = {{"service", flags.service},
                                   {"serving", serving.ok() && *serving}};
    if (!serving.ok()) json["error"] = serving.status().ToString();
    text = DumpJson(json);
  } else if (serving.ok()) {
    text = *serving ? "SERVING\n" : "NOT_SERVING\n";
  }
  if (!serving.ok()) ReportError(serving.status(), flags.connection.server);
  return PrintOutput(text, serving.ok() && *serving ? kExitOk : kExitFailure);
}

}  // namespace

Command AddHealthCommand(CLI::App& app) {
  auto flags = std::make_shared<HealthFlags>();
  CLI::App* command = app.add_subcommand("health", "Exit 0 if the server is serving, else 1");
  AddConnectionFlags(*command, flags->connection);
  command
      ->add_option("--service", flags->service,
                   "Health service: readiness (default), liveness or a gRPC service")
      ->type_name("NAME")
      ->check(Utf8());
  AddTimeoutFlag(*command, flags->timeout_seconds, "5");
  command->add_flag("--json", flags->json, "Print a JSON object");
  return [flags] { return RunHealth(*flags); };
}

}  // namespace skipstream::cli
