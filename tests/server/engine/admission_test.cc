#include "server/engine/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "server/engine/error_details.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

absl::Duration SecondPerEvaluation(int64_t evaluations) { return absl::Seconds(evaluations); }

TEST(AdmissionTest, AcceptsExactlyUpToTheBoundOfEvaluations) {
  Admission admission({.max_requests = 10, .max_evaluations = 100}, SecondPerEvaluation);
  const auto first = admission.Admit(60);
  const auto second = admission.Admit(40);
  EXPECT_TRUE(first.ok());
  EXPECT_TRUE(second.ok());
  EXPECT_EQ(admission.outstanding_evaluations(), 100);
  EXPECT_EQ(GetReason(admission.Admit(1).status()), "QUEUE_FULL");
}

TEST(AdmissionTest, AcceptsExactlyUpToTheBoundOfRequests) {
  Admission admission({.max_requests = 2, .max_evaluations = 100}, SecondPerEvaluation);
  const auto first = admission.Admit(1);
  const auto second = admission.Admit(1);
  EXPECT_TRUE(second.ok());
  const absl::Status refused = admission.Admit(1).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(GetReason(refused), "QUEUE_FULL");
  EXPECT_THAT(refused.message(), HasSubstr("2 of 2 requests"));
}

TEST(AdmissionTest, RoomIsBackWhenTheTicketIsDestroyed) {
  Admission admission({.max_requests = 1, .max_evaluations = 100}, SecondPerEvaluation);
  {
    const auto ticket = admission.Admit(100);
  }
  EXPECT_EQ(admission.outstanding_requests(), 0);
  EXPECT_EQ(admission.outstanding_evaluations(), 0);
  EXPECT_TRUE(admission.Admit(100).ok());
}

TEST(AdmissionTest, MovedTicketReleasesOnce) {
  Admission admission({}, SecondPerEvaluation);
  AdmissionTicket ticket = *admission.Admit(7);
  {
    AdmissionTicket moved = std::move(ticket);
    EXPECT_EQ(admission.outstanding_evaluations(), 7);
    AdmissionTicket other = *admission.Admit(5);
    moved = std::move(other);  // releases the 7
    EXPECT_EQ(admission.outstanding_evaluations(), 5);
    EXPECT_EQ(admission.outstanding_requests(), 1);
  }
  EXPECT_EQ(admission.outstanding_evaluations(), 0);
  EXPECT_EQ(admission.outstanding_requests(), 0);
}

TEST(AdmissionTest, RetryAfterIsTheTimeUntilTheExcessIsDone) {
  Admission admission({.max_requests = 10, .max_evaluations = 100}, SecondPerEvaluation);
  const auto held = admission.Admit(90);
  EXPECT_EQ(GetRetryAfter(admission.Admit(25).status()), absl::Seconds(15));
}

TEST(AdmissionTest, RetryAfterIsTheTimeOfAnAverageRequestWhenRequestsAreTheBound) {
  Admission admission({.max_requests = 2, .max_evaluations = 100}, SecondPerEvaluation);
  const auto first = admission.Admit(10);
  const auto second = admission.Admit(30);
  EXPECT_EQ(GetRetryAfter(admission.Admit(1).status()), absl::Seconds(20));
}

TEST(AdmissionTest, RetryAfterIsNeverTooSoonToBeWorthWhile) {
  Admission admission({.max_requests = 1, .max_evaluations = 100},
                      [](int64_t) { return absl::ZeroDuration(); });
  const auto held = admission.Admit(1);
  EXPECT_EQ(GetRetryAfter(admission.Admit(1).status()), absl::Milliseconds(100));
}

TEST(AdmissionTest, RequestOverTheBoundByItselfIsNotWorthARetry) {
  Admission admission({.max_requests = 2, .max_evaluations = 100}, SecondPerEvaluation);
  const absl::Status refused = admission.Admit(101).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(GetReason(refused), "REQUEST_TOO_LARGE");
  EXPECT_EQ(GetRetryAfter(refused), std::nullopt);
}

TEST(AdmissionTest, ClosedDoorRefusesButKeepsWhatWasAccepted) {
  Admission admission({}, SecondPerEvaluation);
  const auto accepted = admission.Admit(5);
  admission.Close();
  const absl::Status refused = admission.Admit(5).status();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_EQ(GetReason(refused), "DRAINING");
  EXPECT_EQ(admission.outstanding_requests(), 1);
}

TEST(AdmissionTest, NeverExceedsItsBoundsUnderConcurrentRequests) {
  Admission admission({.max_requests = 4, .max_evaluations = 20}, SecondPerEvaluation);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto ticket = admission.Admit(1 + i % 9);
        EXPECT_LE(admission.outstanding_requests(), 4);
        EXPECT_LE(admission.outstanding_evaluations(), 20);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admission.outstanding_requests(), 0);
  EXPECT_EQ(admission.outstanding_evaluations(), 0);
}

TEST(AdmissionTest, CheckSaysWhatAdmitWouldAndTakesNothing) {
  Admission admission({.max_requests = 1, .max_evaluations = 10},
                      [](int64_t) { return absl::Seconds(1); });
  EXPECT_TRUE(admission.Check(10).ok());
  EXPECT_EQ(GetReason(admission.Check(11)), "REQUEST_TOO_LARGE");
  EXPECT_EQ(admission.outstanding_requests(), 0);
  const auto ticket = admission.Admit(10);
  ASSERT_TRUE(ticket.ok());
  EXPECT_EQ(GetReason(admission.Check(1)), "QUEUE_FULL");
  EXPECT_TRUE(GetRetryAfter(admission.Check(1)).has_value());
  admission.Close();
  EXPECT_EQ(GetReason(admission.Check(1)), "DRAINING");
}

}  // namespace
}  // namespace skipstream
