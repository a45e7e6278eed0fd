// Who calls, and what they may do.
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

// Takes the token of a call ("authorization: Bearer TOKEN") for the caller it was given to.
// Thread-safe; a call is decided by the entries that are in force when it arrives.
class Authenticator {
 public:
  // For servers without --auth_file: everybody is the tenant "default" and has every right.
  Authenticator();
  explicit Authenticator(std::vector<TokenEntry> entries);

  bool is_open() const { return open_; }

  // The new entries are in force for calls that arrive from now on. A tenant that has not changed
  // stays the same object.
  void Replace(std::vector<TokenEntry> entries);

  // `authorization` are all metadata values of that name. UNAUTHENTICATED with reason NO_TOKEN or
  // BAD_TOKEN; PERMISSION_DENIED with reason NO_RIGHT. No error holds any part of what was given.
  // How long it takes tells nothing about the tokens that exist, but how many they are.
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
