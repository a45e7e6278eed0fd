#include "server/rpc/grpc_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace skipstream {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Le;

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(GrpcStatusTest, OkStaysOk) { EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok()); }

TEST(GrpcStatusTest, CodeAndMessageTravelTwice) {
  const grpc::Status status = ToGrpcStatus(absl::NotFoundError("no model is called 'x'"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no model is called 'x'");
  EXPECT_EQ(DetailsOf(status).code(), 5);
  EXPECT_EQ(DetailsOf(status).message(), "no model is called 'x'");
}

TEST(GrpcStatusTest, FieldViolationsBecomeABadRequest) {
  const grpc::Status status = ToGrpcStatus(InvalidArgumentWithViolations(
      {{"count", "must be between 1 and 64, got 0"}, {"seeds", "bad"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const google::rpc::Status details = DetailsOf(status);
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  ASSERT_EQ(bad_request.field_violations_size(), 2);
  EXPECT_EQ(bad_request.field_violations(0).field(), "count");
  EXPECT_EQ(bad_request.field_violations(0).description(), "must be between 1 and 64, got 0");
  EXPECT_EQ(bad_request.field_violations(1).field(), "seeds");
}

TEST(GrpcStatusTest, RetryTimeAndReasonBecomeRetryInfoAndErrorInfo) {
  absl::Status error = absl::ResourceExhaustedError("the queue is full");
  SetRetryAfter(error, absl::Milliseconds(2500));
  SetReason(error, "QUEUE_FULL");
  const google::rpc::Status details = DetailsOf(ToGrpcStatus(error));
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(details.details(0).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(1).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "skipstream.dev");
}

TEST(GrpcStatusTest, WithoutARetryTimeThereIsNoRetryInfo) {
  EXPECT_EQ(DetailsOf(ToGrpcStatus(absl::ResourceExhaustedError("slow"))).details_size(), 0);
}

TEST(GrpcStatusTest, LongTextsAreCutSoThatTheHeadersStaySmall) {
  std::vector<FieldViolation> violations;
  for (int i = 0; i < 500; ++i) {
    violations.push_back({absl::StrCat("field", i), std::string(1000, 'x')});
  }
  const grpc::Status status = ToGrpcStatus(InvalidArgumentWithViolations(violations));
  EXPECT_THAT(status.error_message().size(), Le(1000u));
  EXPECT_THAT(status.error_message(), EndsWith("..."));
  EXPECT_THAT(status.error_details().size(), Le(3000u));
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(DetailsOf(status).details(0).UnpackTo(&bad_request));
  EXPECT_GT(bad_request.field_violations_size(), 1);
  EXPECT_THAT(bad_request.field_violations(0).description(), EndsWith("..."));
}

TEST(GrpcStatusTest, TextIsCutBetweenCharacters) {
  std::string text = "a";
  for (int i = 0; i < 1000; ++i) text += "\u00e9";  // two bytes each
  const std::string message = ToGrpcStatus(absl::InternalError(text)).error_message();
  EXPECT_THAT(message, HasSubstr("\u00e9..."));
  EXPECT_EQ(message.size() % 2, 0u) << "one byte, whole characters of two, three dots";
}

}  // namespace
}  // namespace skipstream
