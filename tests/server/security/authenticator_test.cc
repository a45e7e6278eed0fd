#include "server/security/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "abc" (FIPS 180-4) and of the empty text.
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string Entry(const std::string& sha256, const std::string& tenant, const std::string& right) {
  return absl::StrCat(R"({"sha256": ")", sha256, R"(", "tenant": ")", tenant, R"(", "rights": [")",
                      right, "\"]}");
}

std::vector<TokenEntry> Entries(const std::string& tokens, int max_requests = 5) {
  return ParseAuthFile(absl::StrCat(R"({"tokens": [)", tokens,
                                    R"(], "tenants": {"studio": {"max_requests": )", max_requests,
                                    R"(}, "lab": {}}})"))
      .value();
}

const std::string kOthers = absl::StrCat(Entry(std::string(64, '0'), "lab", "generate"), ", ",
                                         Entry(std::string(64, 'f'), "lab", "generate"));

std::string ReasonFor(const Authenticator& authenticator, const std::vector<std::string>& values,
                      Right right = Right::kAny) {
  return GetReason(authenticator.Authenticate(values, right).status());
}

TEST(AuthenticatorTest, ATokenIsFoundWhereverItStands) {
  const std::string abc = Entry(kAbc, "studio", "generate");
  for (const std::string& tokens :
       {abc, abc + ", " + kOthers, kOthers + ", " + abc,
        absl::StrCat(Entry(std::string(64, '1'), "lab", "generate"), ", ", abc, ", ", kOthers)}) {
    const Authenticator authenticator(Entries(tokens));
    const auto caller = authenticator.Authenticate({"Bearer abc"}, Right::kGenerate);
    ASSERT_TRUE(caller.ok()) << caller.status();
    EXPECT_EQ(caller->tenant->name, "studio");
  }
}

TEST(AuthenticatorTest, TheSchemeIsNotCaseSensitiveButTheTokenIs) {
  const Authenticator authenticator(Entries(Entry(kAbc, "studio", "generate")));
  EXPECT_TRUE(authenticator.Authenticate({"bearer abc"}, Right::kAny).ok());
  EXPECT_EQ(ReasonFor(authenticator, {"Bearer ABC"}), "BAD_TOKEN");
}

TEST(AuthenticatorTest, WhoeverHasNoValidTokenIsUnauthenticated) {
  const Authenticator authenticator(Entries(Entry(kAbc, "studio", "generate")));
  EXPECT_EQ(authenticator.Authenticate({}, Right::kAny).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(ReasonFor(authenticator, {}), "NO_TOKEN");
  for (const std::string& value :
       {std::string("abc"), std::string("Basic abc"), std::string("Bearer"), std::string("Bearer "),
        std::string("Bearer  abc"), std::string("Bearer abc "), std::string("Bearer abd"),
        std::string("Bearer ab"), std::string("Bearer abc\0", 11), absl::StrCat("Bearer ", kAbc)}) {
    const absl::Status status = authenticator.Authenticate({value}, Right::kAny).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << value;
    EXPECT_EQ(GetReason(status), "BAD_TOKEN") << value;
  }
  EXPECT_EQ(ReasonFor(authenticator, {"Bearer abc", "Bearer abc"}), "BAD_TOKEN");
}

TEST(AuthenticatorTest, WithoutTokensNobodyIsLetIn) {
  const Authenticator authenticator(Entries(""));
  EXPECT_EQ(ReasonFor(authenticator, {"Bearer abc"}), "BAD_TOKEN");
  EXPECT_EQ(ReasonFor(authenticator, {"Bearer "}), "BAD_TOKEN");
}

TEST(AuthenticatorTest, AnErrorNeverHoldsWhatWasGiven) {
  const Authenticator authenticator(Entries(kOthers));
  const auto caller = authenticator.Authenticate({"Bearer hunter2"}, Right::kAny);
  EXPECT_THAT(caller.status().ToString(), Not(HasSubstr("hunter2")));
}

TEST(AuthenticatorTest, RightsAreTheTokensOwn) {
  const Authenticator authenticator(Entries(
      absl::StrCat(Entry(kAbc, "studio", "generate"), ", ", Entry(kNothing, "lab", "control"))));
  EXPECT_TRUE(authenticator.Authenticate({"Bearer abc"}, Right::kGenerate).ok());
  EXPECT_TRUE(authenticator.Authenticate({"Bearer abc"}, Right::kAny).ok());
  const absl::Status refused = authenticator.Authenticate({"Bearer abc"}, Right::kControl).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(GetReason(refused), "NO_RIGHT");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("\"control\""));
  EXPECT_EQ(ReasonFor(authenticator, {"Bearer "}, Right::kGenerate), "NO_RIGHT");
}

TEST(AuthenticatorTest, AnOpenServerTakesEverybodyForTheDefaultTenant) {
  const Authenticator authenticator;
  for (const std::vector<std::string>& values : {std::vector<std::string>(), {"Bearer abc"}}) {
    const auto caller = authenticator.Authenticate(values, Right::kControl);
    ASSERT_TRUE(caller.ok());
    EXPECT_EQ(caller->tenant->name, "default");
  }
}

TEST(AuthenticatorTest, ARevokedTokenIsRefusedAndANewOneIsTaken) {
  Authenticator authenticator(Entries(Entry(kAbc, "studio", "generate")));
  authenticator.Replace(Entries(Entry(kNothing, "studio", "generate")));
  EXPECT_EQ(ReasonFor(authenticator, {"Bearer abc"}), "BAD_TOKEN");
  EXPECT_TRUE(authenticator.Authenticate({"Bearer "}, Right::kAny).ok());
}

TEST(AuthenticatorTest, ATenantStaysTheSameObjectUntilItChanges) {
  Authenticator authenticator(Entries(Entry(kAbc, "studio", "generate")));
  const auto tenant = [&] {
    return authenticator.Authenticate({"Bearer abc"}, Right::kAny)->tenant;
  };
  const auto before = tenant();
  authenticator.Replace(Entries(kOthers + ", " + Entry(kAbc, "studio", "generate")));
  EXPECT_EQ(tenant(), before);
  authenticator.Replace(Entries(Entry(kAbc, "studio", "generate"), /*max_requests=*/6));
  EXPECT_NE(tenant(), before);
  EXPECT_EQ(tenant()->max_requests, 6);
  EXPECT_EQ(before->max_requests, 5) << "requests that run keep what they were accepted under";
}

}  // namespace
}  // namespace skipstream
