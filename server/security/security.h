// Loads the files that control access, and keeps them up to date.
#ifndef SKIPSTREAM_SERVER_SECURITY_SECURITY_H_
#define SKIPSTREAM_SERVER_SECURITY_SECURITY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file_watcher.h"
#include "server/log/event_log.h"
#include "server/security/authenticator.h"
#include "server/security/tls.h"

namespace skipstream {

class Security {
 public:
  struct Options {
    // Paths; empty: without. Errors and the log call these by the flags' names.
    std::string tls_cert;
    std::string tls_key;
    std::string tls_client_ca;
    std::string auth_file;
    absl::Duration reload_interval = absl::Seconds(5);
  };

  // Loads the files. Files that change later are taken over within the interval if they are valid;
  // else the previous contents stay in force, and the log says why. `log` outlives the result.
  // Errors name the flag.
  static absl::StatusOr<std::unique_ptr<Security>> Load(const Options& options,
                                                        const EventLog& log);

  const Authenticator& authenticator() const { return *authenticator_; }
  TlsIdentity* tls() { return tls_.get(); }  // null: no TLS

  // Reads the files now instead of at the end of the interval, on the watcher's thread.
  void ReloadSoon() { watcher_->CheckSoon(); }

 private:
  Security() = default;

  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<TlsIdentity> tls_;
  std::unique_ptr<FileWatcher> watcher_;  // last: its thread uses the others
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_SECURITY_SECURITY_H_
