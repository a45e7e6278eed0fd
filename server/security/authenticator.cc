#include "server/security/authenticator.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

constexpr absl::string_view kScheme = "Bearer ";

absl::Status Refusal(absl::StatusCode code, absl::string_view message, absl::string_view reason) {
  absl::Status status(code, message);
  SetReason(status, reason);
  return status;
}

absl::Status NoToken() {
  return Refusal(absl::StatusCode::kUnauthenticated,
                 "a token is needed: send it as metadata \"authorization: Bearer TOKEN\"",
                 "NO_TOKEN");
}

absl::Status BadToken() {
  return Refusal(absl::StatusCode::kUnauthenticated,
                 "the token is not one of those this server knows", "BAD_TOKEN");
}

Sha256 HashOf(absl::string_view token) {
  Sha256 sha256;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), sha256.data());
  return sha256;
}

// Looks at every entry, and at every byte of it, wherever the right one is. Hashes of what callers
// send cannot be steered towards a known hash, so this is a second wall rather than the first.
const TokenEntry* Find(const std::vector<TokenEntry>& entries, const Sha256& sha256) {
  size_t found = entries.size();
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto equal = static_cast<size_t>(
        CRYPTO_memcmp(entries[i].sha256.data(), sha256.data(), sha256.size()) == 0);
    found ^= (found ^ i) & (~equal + 1);  // equal ? i : found, without a branch
  }
  return found < entries.size() ? &entries[found] : nullptr;
}

bool Has(const Rights& rights, Right needed) {
  switch (needed) {
    case Right::kAny:
      return true;
    case Right::kGenerate:
      return rights.generate;
    case Right::kControl:
      return rights.control;
  }
  return false;
}

bool SameTenant(const Tenant& a, const Tenant& b) {
  return a.name == b.name && a.weight == b.weight && a.max_requests == b.max_requests &&
         a.max_evaluations == b.max_evaluations && a.max_bytes == b.max_bytes;
}

}  // namespace

Authenticator::Authenticator()
    : open_(true),
      everybody_{.tenant = std::make_shared<const Tenant>(),
                 .rights = {.generate = true, .control = true}},
      entries_(std::make_shared<const Entries>()) {}

Authenticator::Authenticator(std::vector<TokenEntry> entries)
    : open_(false), entries_(std::make_shared<const Entries>(std::move(entries))) {}

void Authenticator::Replace(std::vector<TokenEntry> entries) {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::shared_ptr<const Tenant>> tenants;
  for (const TokenEntry& entry : *entries_)
    tenants[entry.caller.tenant->name] = entry.caller.tenant;
  for (TokenEntry& entry : entries) {
    const auto& before = tenants[entry.caller.tenant->name];
    if (before != nullptr && SameTenant(*before, *entry.caller.tenant)) {
      entry.caller.tenant = before;
    }
  }
  entries_ = std::make_shared<const Entries>(std::move(entries));
}

absl::StatusOr<Caller> Authenticator::Authenticate(const std::vector<std::string>& authorization,
                                                   Right needed) const {
  if (open_) return everybody_;
  if (authorization.empty()) return NoToken();
  // Two tokens: which one counts would be a guess.
  if (authorization.size() > 1 || !absl::StartsWithIgnoreCase(authorization[0], kScheme)) {
    return BadToken();
  }
  const Sha256 sha256 = HashOf(absl::string_view(authorization[0]).substr(kScheme.size()));
  std::shared_ptr<const Entries> entries;
  {
    std::lock_guard lock(mutex_);
    entries = entries_;
  }
  const TokenEntry* entry = Find(*entries, sha256);
  if (entry == nullptr) return BadToken();
  if (!Has(entry->caller.rights, needed)) {
    return Refusal(absl::StatusCode::kPermissionDenied,
                   absl::StrCat("the token does not have the right \"",
                                needed == Right::kControl ? "control" : "generate", "\""),
                   "NO_RIGHT");
  }
  return entry->caller;
}

}  // namespace skipstream
