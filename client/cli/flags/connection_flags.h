// Adds the flags that every subcommand has: the server's address and the connection to it.
#ifndef SKIPSTREAM_CLIENT_CLI_FLAGS_CONNECTION_FLAGS_H_
#define SKIPSTREAM_CLIENT_CLI_FLAGS_CONNECTION_FLAGS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "client/cc/skipstream_client.h"

namespace skipstream::cli {

inline constexpr char kDefaultServer[] = "localhost:50051";

struct ConnectionFlags {
  std::string server = kDefaultServer;
  bool tls = false;
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  std::string token_file;
  bool plaintext_token = false;
  std::string traceparent;
};

// Registers the flags; parsing fills `flags`, which outlives `command`.
void AddConnectionFlags(CLI::App& command, ConnectionFlags& flags);

// Reads the files, and the token from the environment (SKIPSTREAM_TOKEN) if no file is named: a
// token in the arguments could be read by everybody on the machine. An error names the flag.
absl::StatusOr<client::Client::Options> ClientOptionsOf(const ConnectionFlags& flags);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FLAGS_CONNECTION_FLAGS_H_
