#include <fcntl.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "client/cli/commands/commands.h"
#include "client/cli/flags/flag_helpers.h"
#include "client/cli/output/message_json.h"
#include "client/cli/output/output.h"
#include "client/cli/output/text.h"
#include "client/cli/output/user_errors.h"

namespace skipstream::cli {
namespace {

constexpr size_t kTokenBytes = 32;

struct TokenFlags {
  std::string out;
  std::string tenant;
  bool control = false;
};

std::string Hash(const std::string& token) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> sha256;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), sha256.data());
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(sha256.data()), sha256.size()));
}

// A new file that only its owner can read, from its first moment on.
absl::Status WriteSecret(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    return absl::InternalError(absl::StrCat("cannot make ", path, ": ", strerror(errno)));
  }
  int error = WriteAll(file, text);
  if (close(file) != 0 && error == 0) error = errno;
  if (error == 0) return absl::OkStatus();
  unlink(path.c_str());
  return absl::InternalError(absl::StrCat("cannot write ", path, ": ", strerror(error)));
}

int RunToken(const TokenFlags& flags) {
  std::array<unsigned char, kTokenBytes> random;
  if (RAND_bytes(random.data(), random.size()) != 1) {
    std::cerr << "error: the system gives no random numbers\n";
    return kExitFailure;
  }
  const std::string token = absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(random.data()), random.size()));
  if (flags.out.empty()) {
    if (WriteAll(STDERR_FILENO, token + "\n") != 0) return kExitFailure;
  } else if (absl::Status status = WriteSecret(flags.out, token + "\n"); !status.ok()) {
    std::cerr << "error: " << Printable(status.message()) << "\n";
    return kExitFailure;
  }
  nlohmann::ordered_json entry = {{"sha256", Hash(token)}};
  if (!flags.tenant.empty()) entry["tenant"] = flags.tenant;
  entry["rights"] = {"generate"};
  if (flags.control) entry["rights"].push_back("control");
  const absl::Status printed = WriteOutput(DumpJson(entry, kOneLine));
  if (printed.ok()) return kExitOk;
  if (!flags.out.empty()) unlink(flags.out.c_str());
  return ReportLostOutput(printed, "the token's entry is lost, the token is of no use");
}

}  // namespace

Command AddTokenCommand(CLI::App& app) {
  auto flags = std::make_shared<TokenFlags>();
  CLI::App* command =
      app.add_subcommand("token", "Make a token, and its entry for the server's --auth_file");
  command
      ->add_option("--out", flags->out,
                   "New file for the token, readable by you alone (default: standard error)")
      ->type_name("FILE");
  command->add_option("--tenant", flags->tenant, "Whose it is (default: the tenant \"default\")")
      ->type_name("NAME")
      ->check(Utf8());
  command->add_flag("--control", flags->control, "With the right to load and unload models");
  return [flags] { return RunToken(*flags); };
}

}  // namespace skipstream::cli
