#include "base/error_details.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace skipstream {
namespace {

using ::testing::IsEmpty;

TEST(ErrorDetailsTest, ViolationsSurviveTheRoundTripWhateverTheyContain) {
  const std::string odd("a:b;3:\0\xff\n", 9);
  const absl::Status status = InvalidArgumentWithViolations(
      {{"sampler.nfe", "20 is even; Heun takes 19 or 21"}, {odd, ""}, {"", odd}});
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  const auto violations = GetFieldViolations(status);
  ASSERT_EQ(violations.size(), 3u);
  EXPECT_EQ(violations[0].field, "sampler.nfe");
  EXPECT_EQ(violations[0].description, "20 is even; Heun takes 19 or 21");
  EXPECT_EQ(violations[1].field, odd);
  EXPECT_EQ(violations[1].description, "");
  EXPECT_EQ(violations[2].field, "");
  EXPECT_EQ(violations[2].description, odd);
}

TEST(ErrorDetailsTest, MessageListsTheViolations) {
  EXPECT_EQ(InvalidArgumentWithViolations({{"count", "must be 1 to 64"}, {"seeds[3]", "too big"}})
                .message(),
            "count: must be 1 to 64; seeds[3]: too big");
}

TEST(ErrorDetailsTest, RetryAfterSurvivesTheRoundTrip) {
  absl::Status status = absl::ResourceExhaustedError("full");
  EXPECT_EQ(GetRetryAfter(status), std::nullopt);
  SetRetryAfter(status, absl::Milliseconds(1234));
  EXPECT_EQ(GetRetryAfter(status), absl::Milliseconds(1234));
}

TEST(ErrorDetailsTest, ReasonSurvivesTheRoundTripBesideOtherDetails) {
  absl::Status status = InvalidArgumentWithViolations({{"f", "d"}});
  EXPECT_EQ(GetReason(status), "");
  SetReason(status, "QUEUE_FULL");
  SetRetryAfter(status, absl::Seconds(1));
  EXPECT_EQ(GetReason(status), "QUEUE_FULL");
  EXPECT_EQ(GetFieldViolations(status).size(), 1u);
}

TEST(ErrorDetailsTest, StatusWithoutDetailsHasNone) {
  EXPECT_THAT(GetFieldViolations(absl::InternalError("x")), IsEmpty());
  EXPECT_EQ(GetReason(absl::OkStatus()), "");
  EXPECT_EQ(GetRetryAfter(absl::OkStatus()), std::nullopt);
}

}  // namespace
}  // namespace skipstream
