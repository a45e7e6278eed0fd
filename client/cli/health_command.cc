#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/clock.h"
#include "client/cc/skipstream_client.h"
#include "client/cli/commands.h"
#include "client/cli/connection_flags.h"
#include "client/cli/user_errors.h"

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
      client.CheckHealth(flags.service, absl::Now() + absl::Seconds(flags.timeout_seconds));
  if (flags.json) {
    nlohmann::ordered_json json = {{"service", flags.service},
                                   {"serving", serving.ok() && *serving}};
    if (!serving.ok()) json["error"] = serving.status().ToString();
    std::cout << json.dump(2) << "\n";
  }
  if (!serving.ok()) {
    std::cerr << ExplainError(serving.status(), flags.connection.server);
    return kExitFailure;
  }
  if (!flags.json) std::cout << (*serving ? "SERVING" : "NOT_SERVING") << "\n";
  return *serving ? kExitOk : kExitFailure;
}

}  // namespace

Command AddHealthCommand(CLI::App& app) {
  auto flags = std::make_shared<HealthFlags>();
  CLI::App* command = app.add_subcommand("health", "Exit 0 if the server is serving, else 1");
  AddConnectionFlags(*command, flags->connection);
  command
      ->add_option("--service", flags->service,
                   "Health service: readiness (default), liveness or a gRPC service")
      ->type_name("NAME");
  command->add_option("--timeout", flags->timeout_seconds, "Give up after so long (default: 5)")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber.description(""));
  command->add_flag("--json", flags->json, "Print a JSON object");
  return [flags] { return RunHealth(*flags); };
}

}  // namespace skipstream::cli
