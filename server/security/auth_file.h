// Parses the file that maps tokens to tenants and rights (--auth_file).
#ifndef SKIPSTREAM_SERVER_SECURITY_AUTH_FILE_H_
#define SKIPSTREAM_SERVER_SECURITY_AUTH_FILE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/tenant.h"

namespace skipstream {

// Lists the rights of a caller. Any caller may ask which models there are.
struct Rights {
  bool generate = false;
  bool control = false;  // load and unload models
};

struct Caller {
  std::shared_ptr<const Tenant> tenant;
  Rights rights;
};

using Sha256 = std::array<uint8_t, 32>;

struct TokenEntry {
  // Hash of the token. Tokens are random and long (`skipstream token` makes 256 bits), so that
  // nobody can search for one. A hash that is slow on purpose, as for passwords, would gain
  // nothing.
  Sha256 sha256;
  Caller caller;
};

// Reads
//   {"tokens": [{"sha256": "<64 hexadecimal digits>", "tenant": "studio",
//                "rights": ["generate", "control"]}],
//    "tenants": {"studio": {"weight": 2, "max_requests": 64, "max_evaluations": 20000,
//                           "max_bytes": 268435456}}}
// Everything but "sha256" and "rights" may be left out. A token without tenant belongs to
// "default"; a tenant without a full description has the defaults of struct Tenant. InvalidArgument
// for anything else, naming the place ("tokens[3].rights[0]"). It never holds a value of the file,
// which might be a token in the wrong place.
absl::StatusOr<std::vector<TokenEntry>> ParseAuthFile(const std::string& text);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_SECURITY_AUTH_FILE_H_
