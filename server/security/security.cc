#include "server/security/security.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace skipstream {
namespace {

using Contents = std::vector<std::string>;

absl::Status Named(const std::string& flags, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flags, ": ", status.message()));
}

TlsFiles TlsFilesOf(const Contents& contents) {
  return {.certificate_chain = contents[0],
          .private_key = contents[1],
          .client_ca = contents.size() > 2 ? contents[2] : ""};
}

void LogCertificate(const TlsIdentity& tls, const EventLog& log) {
  const LogFields fields = {
      {"expires", absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", tls.expires(), absl::UTCTimeZone())}};
  if (tls.expires() <= absl::Now()) {
    log.Warn("the server's certificate has expired: clients will refuse it", fields);
  } else {
    log.Info("certificate in force", fields);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Security>> Security::Load(const Options& options,
                                                         const EventLog& log) {
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls_cert and --tls_key: give both or none");
  }
  if (!options.tls_client_ca.empty() && options.tls_cert.empty()) {
    return absl::InvalidArgumentError("--tls_client_ca: needs --tls_cert and --tls_key");
  }
  std::unique_ptr<Security> security(new Security());
  std::vector<FileWatcher::Watch> watches;

  if (!options.tls_cert.empty()) {
    std::string flags = "--tls_cert, --tls_key";
    std::vector<std::string> paths = {options.tls_cert, options.tls_key};
    if (!options.tls_client_ca.empty()) {
      flags += ", --tls_client_ca";
      paths.push_back(options.tls_client_ca);
    }
    absl::StatusOr<Contents> contents = ReadWatchedFiles(paths);
    if (!contents.ok()) return Named(flags, contents.status());
    absl::StatusOr<std::unique_ptr<TlsIdentity>> tls = TlsIdentity::Create(TlsFilesOf(*contents));
    if (!tls.ok()) return Named(flags, tls.status());
    security->tls_ = *std::move(tls);
    LogCertificate(*security->tls_, log);
    watches.push_back({.what = flags,
                       .paths = paths,
                       .contents = *std::move(contents),
                       .apply = [&log, &tls = *security->tls_](const Contents& changed) {
                         absl::Status status = tls.Replace(TlsFilesOf(changed));
                         if (status.ok()) LogCertificate(tls, log);
                         return status;
                       }});
  }

  if (options.auth_file.empty()) {
    security->authenticator_ = std::make_unique<Authenticator>();
  } else {
    absl::StatusOr<Contents> contents = ReadWatchedFiles({options.auth_file});
    if (!contents.ok()) return Named("--auth_file", contents.status());
    absl::StatusOr<std::vector<TokenEntry>> entries = ParseAuthFile(contents->front());
    if (!entries.ok()) return Named("--auth_file", entries.status());
    security->authenticator_ = std::make_unique<Authenticator>(*std::move(entries));
    watches.push_back(
        {.what = "--auth_file",
         .paths = {options.auth_file},
         .contents = *std::move(contents),
         .apply = [&authenticator = *security->authenticator_](const Contents& changed) {
           absl::StatusOr<std::vector<TokenEntry>> entries = ParseAuthFile(changed.front());
           if (!entries.ok()) return entries.status();
           authenticator.Replace(*std::move(entries));
           return absl::OkStatus();
         }});
    if (security->tls_ == nullptr) {
      log.Warn(
          "tokens are read from connections that are not encrypted: give --tls_cert and --tls_key, "
          "or let only a proxy that ends TLS reach this port");
    }
  }
  security->watcher_ = std::make_unique<FileWatcher>(
      std::move(watches), options.reload_interval,
      [&log](const std::string& what, const absl::Status& status) {
        if (status.ok()) {
          log.Info("reloaded", {{"what", what}});
        } else {
          log.Error("not reloaded, what was in force stays",
                    {{"what", what}, {"error", std::string(status.message())}});
        }
      });
  return security;
}

}  // namespace skipstream
