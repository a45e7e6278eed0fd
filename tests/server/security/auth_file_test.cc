#include "server/security/auth_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

const std::string kHash(64, 'a');
const std::string kOtherHash(64, 'b');

std::string Token(const std::string& members) {
  return absl::StrCat(R"({"tokens": [{)", members, "}]}");
}
std::string Tenants(const std::string& tenants) {
  return absl::StrCat(R"({"tokens": [], "tenants": )", tenants, "}");
}

TEST(AuthFileTest, ATokenHasATenantWithItsQuotaAndRights) {
  const auto entries =
      ParseAuthFile(absl::StrCat(R"({"tokens": [{"sha256": ")", kHash,
                                 R"(", "tenant": "studio", "rights": ["generate", "control"]},
                     {"sha256": ")",
                                 kOtherHash, R"(", "tenant": "studio", "rights": ["generate"]}],
          "tenants": {"studio": {"weight": 2.5, "max_requests": 64, "max_evaluations": 20000,
                                 "max_bytes": 268435456}}})"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_THAT(*entries, SizeIs(2));
  const TokenEntry& entry = entries->front();
  EXPECT_EQ(entry.sha256[31], 0xaa);
  EXPECT_TRUE(entry.caller.rights.generate);
  EXPECT_TRUE(entry.caller.rights.control);
  EXPECT_EQ(entry.caller.tenant->name, "studio");
  EXPECT_EQ(entry.caller.tenant->weight, 2.5);
  EXPECT_EQ(entry.caller.tenant->max_requests, 64);
  EXPECT_EQ(entry.caller.tenant->max_evaluations, 20000);
  EXPECT_EQ(entry.caller.tenant->max_bytes, 268435456);
  EXPECT_FALSE(entries->back().caller.rights.control);
  EXPECT_EQ(entries->back().caller.tenant, entry.caller.tenant) << "one tenant is one object";
}

TEST(AuthFileTest, WhatIsNotSaidIsUnlimitedAndOfTheDefaultTenant) {
  const auto entries =
      ParseAuthFile(Token(absl::StrCat(R"("sha256": ")", kHash, R"(", "rights": ["control"])")));
  ASSERT_TRUE(entries.ok()) << entries.status();
  const Caller& caller = entries->front().caller;
  EXPECT_FALSE(caller.rights.generate);
  EXPECT_EQ(caller.tenant->name, "default");
  EXPECT_EQ(caller.tenant->weight, 1);
  EXPECT_EQ(caller.tenant->max_requests, std::numeric_limits<int64_t>::max());
}

TEST(AuthFileTest, TheDefaultTenantCanBeDescribed) {
  const auto entries = ParseAuthFile(
      absl::StrCat(R"({"tokens": [{"sha256": ")", kHash, R"(", "rights": ["generate"]}],
                       "tenants": {"default": {"max_requests": 3}}})"));
  ASSERT_TRUE(entries.ok()) << entries.status();
  EXPECT_EQ(entries->front().caller.tenant->max_requests, 3);
}

TEST(AuthFileTest, AFileWithoutTokensLocksEverybodyOut) {
  EXPECT_THAT(ParseAuthFile(R"({"tokens": []})").value(), SizeIs(0));
}

struct BadFile {
  const char* what;
  std::string text;
  std::string message;
};

class BadAuthFileTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadAuthFileTest, IsRefusedWithThePlace) {
  const auto entries = ParseAuthFile(GetParam().text);
  EXPECT_EQ(entries.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(entries.status().message()), HasSubstr(GetParam().message));
}

const std::string kGood = absl::StrCat(R"("sha256": ")", kHash, R"(", "rights": ["generate"])");

INSTANTIATE_TEST_SUITE_P(
    , BadAuthFileTest,
    ::testing::Values(
        BadFile{"Empty", "", "is not JSON, line 1"},
        BadFile{"HalfWritten", "{\"tokens\": [\n{\"sha256\":", "is not JSON, line 2"},
        BadFile{"List", "[]", "the file: must be an object"},
        BadFile{"NoTokens", "{}", "tokens: must be a list"},
        BadFile{"UnknownKey", R"({"tokens": [], "tenant": {}})", "the file: knows no \"tenant\""},
        BadFile{"RepeatedKey", R"({"tokens": [], "tokens": []})", "a key appears twice"},
        BadFile{"TokenIsText", R"({"tokens": ["x"]})", "tokens[0]: must be an object"},
        BadFile{"UnknownTokenKey", Token(kGood + R"(, "right": 1)"),
                "tokens[0]: knows no \"right\""},
        BadFile{"NoHash", Token(R"("rights": ["generate"])"), "tokens[0].sha256: must be"},
        BadFile{"ShortHash", Token(R"("sha256": "abcd", "rights": ["generate"])"),
                "tokens[0].sha256: must be"},
        BadFile{"NotHex",
                Token(absl::StrCat(R"("sha256": ")", std::string(64, 'g'), R"(", "rights": [])")),
                "tokens[0].sha256: must be"},
        BadFile{"NoRights", Token(absl::StrCat(R"("sha256": ")", kHash, "\"")),
                "tokens[0].rights: must be a list"},
        BadFile{"EmptyRights", Token(absl::StrCat(R"("sha256": ")", kHash, R"(", "rights": [])")),
                "tokens[0].rights: must be a list"},
        BadFile{
            "UnknownRight",
            Token(absl::StrCat(R"("sha256": ")", kHash, R"(", "rights": ["generate", "admin"])")),
            "tokens[0].rights[1]: must be"},
        BadFile{"UnknownTenant", Token(kGood + R"(, "tenant": "nobody")"),
                "tokens[0].tenant: must"},
        BadFile{"TenantIsNumber", Token(kGood + R"(, "tenant": 5)"), "tokens[0].tenant: must"},
        BadFile{"SameHashTwice", absl::StrCat("{\"tokens\": [{", kGood, "}, {", kGood, "}]}"),
                "tokens[1].sha256: is that of tokens[0]"},
        BadFile{"TenantName", Tenants(R"({"a b": {}})"), "tenants: the name of a tenant must"},
        BadFile{"TenantIsList", Tenants(R"({"a": []})"), "tenants.a: must be an object"},
        BadFile{"UnknownTenantKey", Tenants(R"({"a": {"max_request": 1}})"),
                "tenants.a: knows no \"max_request\""},
        BadFile{"ZeroWeight", Tenants(R"({"a": {"weight": 0}})"), "tenants.a.weight: must be"},
        BadFile{"NegativeWeight", Tenants(R"({"a": {"weight": -1}})"), "tenants.a.weight: must be"},
        BadFile{"HugeWeight", Tenants(R"({"a": {"weight": 1e300}})"), "tenants.a.weight: must be"},
        BadFile{"TextWeight", Tenants(R"({"a": {"weight": "2"}})"), "tenants.a.weight: must be"},
        BadFile{"ZeroRequests", Tenants(R"({"a": {"max_requests": 0}})"), "tenants.a.max_requests"},
        BadFile{"FractionalBound", Tenants(R"({"a": {"max_evaluations": 1.5}})"),
                "tenants.a.max_evaluations"},
        BadFile{"HugeBound", Tenants(R"({"a": {"max_bytes": 18446744073709551615}})"),
                "tenants.a.max_bytes"}),
    [](const auto& info) { return info.param.what; });

TEST(AuthFileTest, NoErrorRepeatsWhatMightBeAToken) {
  const std::string secret = "Zm9vYmFyLXNlY3JldC10b2tlbi1vZi0yNTYtYml0cw";
  for (const std::string& text :
       {absl::StrCat("{\"tokens\": [{\"sha256\": ", secret, "}]}"),
        absl::StrCat("{\"tokens\": [{\"sha256\": \"", secret, "\"}]}"),
        absl::StrCat("{\"tokens\": [{\"", secret, "\": 1}]}"),
        absl::StrCat("{\"tokens\": [{", kGood, ", \"tenant\": \"", secret, "\"}]}"),
        absl::StrCat("{\"tokens\": [{\"sha256\": \"", kHash, "\", \"rights\": [\"", secret,
                     "\"]}]}"),
        absl::StrCat("{\"", secret, "\": []}"), secret}) {
    const auto entries = ParseAuthFile(text);
    ASSERT_FALSE(entries.ok()) << text;
    EXPECT_THAT(std::string(entries.status().message()), Not(HasSubstr(secret.substr(0, 8))));
  }
}

}  // namespace
}  // namespace skipstream
