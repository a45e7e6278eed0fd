#include "client/cli/flags/connection_flags.h"

#include <cstdint>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"

namespace skipstream::cli {
namespace {

constexpr uint64_t kMaxPemBytes = 1 << 20;
constexpr uint64_t kMaxTokenBytes = 4096;

absl::Status ReadInto(const std::string& flag, const std::string& file, uint64_t max_bytes,
                      std::string& contents) {
  if (file.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> data = ReadFile(file, max_bytes);
  if (!data.ok()) {
    return absl::Status(data.status().code(), absl::StrCat(flag, ": ", data.status().message()));
  }
  contents = *std::move(data);
  SkipByteOrderMark(contents);
  return absl::OkStatus();
}

}  // namespace

void AddConnectionFlags(CLI::App& command, ConnectionFlags& flags) {
  command.add_option("--server", flags.server, "Server (default: localhost:50051)")
      ->type_name("HOST:PORT")
      ->envname("SKIPSTREAM_SERVER");
  command.add_flag("--tls", flags.tls, "Encrypt the connection; so do the next three")
      ->envname("SKIPSTREAM_TLS");
  command
      .add_option(
          "--ca", flags.ca_file,
          "Trust servers whose certificate this signed, PEM (default: what the system trusts)")
      ->type_name("FILE")
      ->envname("SKIPSTREAM_CA");
  CLI::Option* cert =
      command.add_option("--cert", flags.cert_file, "Certificate to show to the server, PEM")
          ->type_name("FILE")
          ->envname("SKIPSTREAM_CERT");
  CLI::Option* key = command.add_option("--key", flags.key_file, "Private key of --cert, PEM")
                         ->type_name("FILE")
                         ->envname("SKIPSTREAM_KEY");
  cert->needs(key);
  key->needs(cert);
  command
      .add_option("--token_file", flags.token_file,
                  "File with the token to send (default: the variable SKIPSTREAM_TOKEN)")
      ->type_name("FILE")
      ->envname("SKIPSTREAM_TOKEN_FILE");
  command.add_flag("--plaintext_token", flags.plaintext_token,
                   "Send the token without TLS, also to other machines");
  command
      .add_option("--traceparent", flags.traceparent,
                  "W3C Trace Context to send, for the server's log")
      ->type_name("TEXT")
      ->envname("TRACEPARENT");
}

absl::StatusOr<client::Client::Options> ClientOptionsOf(const ConnectionFlags& flags) {
  client::Client::Options options;
  options.target = flags.server;
  client::ConnectionOptions& connection = options.connection;
  connection.tls = flags.tls || !flags.ca_file.empty() || !flags.cert_file.empty();
  connection.allow_plaintext_token = flags.plaintext_token;
  connection.traceparent = flags.traceparent;
  absl::Status status = ReadInto("--ca", flags.ca_file, kMaxPemBytes, connection.ca_pem);
  status.Update(ReadInto("--cert", flags.cert_file, kMaxPemBytes, connection.cert_pem));
  status.Update(ReadInto("--key", flags.key_file, kMaxPemBytes, connection.key_pem));
  status.Update(ReadInto("--token_file", flags.token_file, kMaxTokenBytes, connection.token));
  if (!status.ok()) return status;
  if (const char* token = std::getenv("SKIPSTREAM_TOKEN");
      flags.token_file.empty() && token != nullptr) {
    connection.token = token;
  }
  absl::StripAsciiWhitespace(&connection.token);  // the line's end
  if (!flags.token_file.empty() && connection.token.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token_file: ", flags.token_file, " is empty"));
  }
  status = client::ValidateConnection(options.target, connection);
  if (!status.ok() && !connection.tls && !connection.token.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        status.message(), " (--tls or --ca; or --plaintext_token to send it all the same)"));
  }
  if (!status.ok()) return status;
  return options;
}

}  // namespace skipstream::cli
