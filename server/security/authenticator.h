// Identifies callers and their rights.
#ifndef SKIPSTREAM_SERVER_SECURITY_AUTHENTICATOR_H_
#define SKIPSTREAM_SERVER_SECURITY_AUTHENTICATOR_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/security/auth_file.h"

namespace skipstream {

enum class Right { kAny, kGenerate, kControl };

// Maps the token of a call ("authorization: Bearer TOKEN") to its caller. Thread-safe; a call is
// decided by the entries that are in force when it arrives.
class Authenticator {
 public:
  // Serves without --auth_file: every caller is the tenant "default" and has every right.
  Authenticator();
  explicit Authenticator(std::vector<TokenEntry> entries);

  bool is_open() const { return open_; }

  // Puts new entries in force for calls that arrive from now on. A tenant that has not changed
  // stays the same object.
  void Replace(std::vector<TokenEntry> entries);

  // Returns the caller. `authorization` are all metadata values of that name. UNAUTHENTICATED with
  // reason NO_TOKEN or BAD_TOKEN; PERMISSION_DENIED with reason NO_RIGHT. No error holds any part
  // of the given token. The time it takes depends on the number of tokens, not on their values.
  absl::StatusOr<Caller> Authenticate(const std::vector<std::string>& authorization,
                                      Right needed) const;

 private:
  using Entries = std::vector<TokenEntry>;

  const bool open_;
  const Caller everybody_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Entries> entries_;  // guarded by mutex_
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_SECURITY_AUTHENTICATOR_H_
