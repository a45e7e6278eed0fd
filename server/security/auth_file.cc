#include "server/security/auth_file.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/request/model_reference.h"

namespace skipstream {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxTokens = 65536;
constexpr double kMaxWeight = 1000;

absl::Status Invalid(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

// A key is shown only if it cannot be a token.
std::string Shown(const std::string& key) {
  const bool plain = key.size() <= 24 && std::all_of(key.begin(), key.end(), [](unsigned char c) {
                       return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
                     });
  return plain ? absl::StrCat("\"", key, "\"") : "a key";
}

// Parses, and refuses keys that come twice: of those the parser would keep the last.
absl::StatusOr<Json> ParseStrictly(const std::string& text) {
  std::vector<std::set<std::string>> open_objects;
  bool repeated = false;
  const auto watch = [&](int /*depth*/, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key) {
      repeated |= !open_objects.back().insert(value.get<std::string>()).second;
    }
    return true;
  };
  try {
    Json json = Json::parse(text, watch);
    if (repeated) return absl::InvalidArgumentError("a key appears twice in one object");
    return json;
  } catch (const Json::parse_error& error) {
    // Its own message quotes the file.
    const size_t end = std::min(error.byte, text.size());
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(end), '\n');
    return absl::InvalidArgumentError(absl::StrCat("is not JSON, line ", line));
  }
}

absl::Status CheckKeys(const Json& object, const std::string& path,
                       const std::vector<std::string>& known) {
  if (!object.is_object()) return Invalid(path, "must be an object");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return Invalid(path,
                     absl::StrCat("knows no ", Shown(key), ", only ", absl::StrJoin(known, ", ")));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadBound(const Json& tenant, const char* key, const std::string& path,
                       int64_t& bound) {
  const auto value = tenant.find(key);
  if (value == tenant.end()) return absl::OkStatus();
  if (!value->is_number_integer() || *value < 1 || *value > std::numeric_limits<int64_t>::max()) {
    return Invalid(absl::StrCat(path, ".", key), "must be a whole number of at least 1");
  }
  bound = value->get<int64_t>();
  return absl::OkStatus();
}

absl::StatusOr<Tenant> ReadTenant(const std::string& name, const Json& json) {
  // Tenants are labels of metrics: their names obey the rules for models.
  if (!ValidateModelName(name).ok()) {
    return Invalid(
        "tenants",
        "the name of a tenant must be 1 to 64 letters, digits, '.', '_' or '-', starting "
        "with a letter or digit");
  }
  const std::string path = absl::StrCat("tenants.", name);
  absl::Status status =
      CheckKeys(json, path, {"weight", "max_requests", "max_evaluations", "max_bytes"});
  if (!status.ok()) return status;
  Tenant tenant;
  tenant.name = name;
  if (const auto weight = json.find("weight"); weight != json.end()) {
    if (!weight->is_number() || !(*weight > 0.0) || !(*weight <= kMaxWeight)) {
      return Invalid(path + ".weight",
                     absl::StrCat("must be a number above 0 and at most ", kMaxWeight));
    }
    tenant.weight = weight->get<double>();
  }
  status.Update(ReadBound(json, "max_requests", path, tenant.max_requests));
  status.Update(ReadBound(json, "max_evaluations", path, tenant.max_evaluations));
  status.Update(ReadBound(json, "max_bytes", path, tenant.max_bytes));
  if (!status.ok()) return status;
  return tenant;
}

using Tenants = std::map<std::string, std::shared_ptr<const Tenant>>;

absl::StatusOr<Tenants> ReadTenants(const Json& json) {
  Tenants tenants;
  tenants["default"] = std::make_shared<const Tenant>();
  const auto described = json.find("tenants");
  if (described == json.end()) return tenants;
  if (!described->is_object()) return Invalid("tenants", "must be an object");
  for (const auto& [name, value] : described->items()) {
    absl::StatusOr<Tenant> tenant = ReadTenant(name, value);
    if (!tenant.ok()) return tenant.status();
    tenants[name] = std::make_shared<const Tenant>(*std::move(tenant));
  }
  return tenants;
}

absl::StatusOr<Rights> ReadRights(const Json& json, const std::string& path) {
  if (!json.is_array() || json.empty()) {
    return Invalid(path, "must be a list of \"generate\", \"control\" or both");
  }
  Rights rights;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == "generate") {
      rights.generate = true;
    } else if (json[i] == "control") {
      rights.control = true;
    } else {
      return Invalid(absl::StrCat(path, "[", i, "]"), "must be \"generate\" or \"control\"");
    }
  }
  return rights;
}

absl::StatusOr<Sha256> ReadSha256(const Json& json, const std::string& path) {
  const auto* text = json.get_ptr<const std::string*>();
  if (text == nullptr || text->size() != 2 * Sha256().size() ||
      !std::all_of(text->begin(), text->end(), absl::ascii_isxdigit)) {
    return Invalid(path, "must be the SHA-256 of a token, 64 hexadecimal digits");
  }
  const std::string bytes = absl::HexStringToBytes(*text);
  Sha256 sha256;
  std::copy(bytes.begin(), bytes.end(), sha256.begin());
  return sha256;
}

absl::StatusOr<TokenEntry> ReadToken(const Json& json, const std::string& path,
                                     const Tenants& tenants) {
  if (absl::Status status = CheckKeys(json, path, {"sha256", "tenant", "rights"}); !status.ok()) {
    return status;
  }
  const absl::StatusOr<Sha256> sha256 = ReadSha256(json.value("sha256", Json()), path + ".sha256");
  if (!sha256.ok()) return sha256.status();
  const absl::StatusOr<Rights> rights = ReadRights(json.value("rights", Json()), path + ".rights");
  if (!rights.ok()) return rights.status();
  const Json name = json.value("tenant", Json("default"));
  const auto tenant = name.is_string() ? tenants.find(name.get<std::string>()) : tenants.end();
  if (tenant == tenants.end()) {
    return Invalid(path + ".tenant", "must be one of those under \"tenants\"");
  }
  return TokenEntry{.sha256 = *sha256, .caller = {.tenant = tenant->second, .rights = *rights}};
}

}  // namespace

absl::StatusOr<std::vector<TokenEntry>> ParseAuthFile(const std::string& text) {
  const absl::StatusOr<Json> json = ParseStrictly(text);
  if (!json.ok()) return json.status();
  if (absl::Status status = CheckKeys(*json, "the file", {"tokens", "tenants"}); !status.ok()) {
    return status;
  }
  const absl::StatusOr<Tenants> tenants = ReadTenants(*json);
  if (!tenants.ok()) return tenants.status();
  const Json tokens = json->value("tokens", Json());
  if (!tokens.is_array() || tokens.size() > kMaxTokens) {
    return Invalid("tokens", absl::StrCat("must be a list of at most ", kMaxTokens));
  }
  std::vector<TokenEntry> entries;
  std::map<Sha256, size_t> seen;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string path = absl::StrCat("tokens[", i, "]");
    absl::StatusOr<TokenEntry> entry = ReadToken(tokens[i], path, *tenants);
    if (!entry.ok()) return entry.status();
    const auto [earlier, added] = seen.emplace(entry->sha256, i);
    if (!added) {
      return Invalid(path + ".sha256", absl::StrCat("is that of tokens[", earlier->second, "]"));
    }
    entries.push_back(*std::move(entry));
  }
  return entries;
}

}  // namespace skipstream
