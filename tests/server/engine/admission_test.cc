#include "server/engine/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error_details.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Tenant> TenantCalled(const std::string& name) {
  return std::make_shared<const Tenant>(Tenant{.name = name});
}

// A second per evaluation.
AdmissionRequest Wants(int64_t evaluations, int64_t bytes = 0,
                       std::shared_ptr<const Tenant> tenant = TenantCalled("default")) {
  return {.tenant = std::move(tenant),
          .evaluations = evaluations,
          .bytes = bytes,
          .time_of = [](int64_t rows) { return absl::Seconds(rows); }};
}

TEST(AdmissionTest, AcceptsExactlyUpToTheBoundOfEvaluations) {
  Admission admission({.max_requests = 10, .max_evaluations = 100});
  const auto first = admission.Admit(Wants(60));
  const auto second = admission.Admit(Wants(40));
  EXPECT_TRUE(first.ok());
  EXPECT_TRUE(second.ok());
  EXPECT_EQ(admission.outstanding_evaluations(), 100);
  EXPECT_EQ(GetReason(admission.Admit(Wants(1)).status()), "QUEUE_FULL");
}

TEST(AdmissionTest, AcceptsExactlyUpToTheBoundOfRequests) {
  Admission admission({.max_requests = 2, .max_evaluations = 100});
  const auto first = admission.Admit(Wants(1));
  const auto second = admission.Admit(Wants(1));
  EXPECT_TRUE(second.ok());
  const absl::Status refused = admission.Admit(Wants(1)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(GetReason(refused), "QUEUE_FULL");
  EXPECT_THAT(refused.message(), HasSubstr("2 of 2 requests"));
}

TEST(AdmissionTest, RoomIsBackWhenTheTicketIsDestroyed) {
  Admission admission({.max_requests = 1, .max_evaluations = 100});
  {
    const auto ticket = admission.Admit(Wants(100));
  }
  EXPECT_EQ(admission.outstanding_requests(), 0);
  EXPECT_EQ(admission.outstanding_evaluations(), 0);
  EXPECT_TRUE(admission.Admit(Wants(100)).ok());
}

TEST(AdmissionTest, MovedTicketReleasesOnce) {
  Admission admission(Admission::Options{});
  AdmissionTicket ticket = *admission.Admit(Wants(7));
  {
    AdmissionTicket moved = std::move(ticket);
    EXPECT_EQ(admission.outstanding_evaluations(), 7);
    AdmissionTicket other = *admission.Admit(Wants(5));
    moved = std::move(other);  // releases the 7
    EXPECT_EQ(admission.outstanding_evaluations(), 5);
    EXPECT_EQ(admission.outstanding_requests(), 1);
  }
  EXPECT_EQ(admission.outstanding_evaluations(), 0);
  EXPECT_EQ(admission.outstanding_requests(), 0);
}

TEST(AdmissionTest, RetryAfterIsTheTimeUntilTheExcessIsDone) {
  Admission admission({.max_requests = 10, .max_evaluations = 100});
  const auto held = admission.Admit(Wants(90));
  EXPECT_EQ(GetRetryAfter(admission.Admit(Wants(25)).status()), absl::Seconds(15));
}

TEST(AdmissionTest, RetryAfterIsTheTimeOfAnAverageRequestWhenRequestsAreTheBound) {
  Admission admission({.max_requests = 2, .max_evaluations = 100});
  const auto first = admission.Admit(Wants(10));
  const auto second = admission.Admit(Wants(30));
  EXPECT_EQ(GetRetryAfter(admission.Admit(Wants(1)).status()), absl::Seconds(20));
}

TEST(AdmissionTest, RetryAfterIsNeverTooSoonToBeWorthWhile) {
  Admission admission({.max_requests = 1, .max_evaluations = 100});
  const auto held = admission.Admit(Wants(1));
  AdmissionRequest instant = Wants(1);
  instant.time_of = [](int64_t) { return absl::ZeroDuration(); };
  EXPECT_EQ(GetRetryAfter(admission.Admit(instant).status()), absl::Milliseconds(100));
  instant.time_of = nullptr;
  EXPECT_EQ(GetRetryAfter(admission.Admit(instant).status()), absl::Milliseconds(100));
}

TEST(AdmissionTest, RequestOverTheBoundByItselfIsNotWorthARetry) {
  Admission admission({.max_requests = 2, .max_evaluations = 100});
  const absl::Status refused = admission.Admit(Wants(101)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(GetReason(refused), "REQUEST_TOO_LARGE");
  EXPECT_EQ(GetRetryAfter(refused), std::nullopt);
}

TEST(AdmissionTest, AcceptsExactlyUpToTheBoundOfBytes) {
  Admission admission({.max_bytes = 1000});
  const auto first = admission.Admit(Wants(10, 600));
  const auto second = admission.Admit(Wants(10, 400));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(admission.outstanding_bytes(), 1000);
  const absl::Status refused = admission.Admit(Wants(10, 500)).status();
  EXPECT_EQ(GetReason(refused), "QUEUE_FULL");
  EXPECT_THAT(refused.message(), HasSubstr("1000 of 1000 bytes"));
  // Half of what is held has to go: half of the evaluations.
  EXPECT_EQ(GetRetryAfter(refused), absl::Seconds(10));
  EXPECT_EQ(GetReason(admission.Admit(Wants(1, 1001)).status()), "REQUEST_TOO_LARGE");
}

TEST(AdmissionTest, TenantIsHeldToItsOwnBounds) {
  Admission admission(Admission::Options{});
  const auto studio = std::make_shared<const Tenant>(
      Tenant{.name = "studio", .max_requests = 2, .max_evaluations = 100, .max_bytes = 1000});
  const auto first = admission.Admit(Wants(60, 10, studio));
  const absl::Status refused = admission.Admit(Wants(41, 10, studio)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_EQ(GetReason(refused), "TENANT_QUOTA");
  EXPECT_THAT(refused.message(), HasSubstr("'studio' has 60 of 100 evaluations"));
  EXPECT_EQ(GetRetryAfter(refused), absl::Seconds(1));
  EXPECT_EQ(GetReason(admission.Admit(Wants(1, 991, studio)).status()), "TENANT_QUOTA");
  EXPECT_TRUE(admission.Admit(Wants(500, 5000)).ok()) << "others have theirs";
  const auto second = admission.Admit(Wants(40, 990, studio));
  EXPECT_TRUE(second.ok());
  EXPECT_EQ(GetReason(admission.Admit(Wants(0, 0, studio)).status()), "TENANT_QUOTA");
  EXPECT_EQ(GetReason(admission.Admit(Wants(101, 0, studio)).status()), "REQUEST_TOO_LARGE");
}

TEST(AdmissionTest, TenantsRoomIsBackWhenItsTicketsAreDestroyed) {
  Admission admission(Admission::Options{});
  const auto studio = std::make_shared<const Tenant>(Tenant{.name = "studio", .max_requests = 1});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(admission.Admit(Wants(1, 1, studio)).ok());
}

TEST(AdmissionTest, AFloodLeavesRoomForTenantsThatHoldLittle) {
  Admission admission({.max_requests = 100, .reserved_for_others = 0.2});
  const auto flood = TenantCalled("flood");
  std::vector<AdmissionTicket> held;
  for (int i = 0; i < 200; ++i) {
    if (auto ticket = admission.Admit(Wants(1, 0, flood)); ticket.ok()) held.push_back(*ticket);
  }
  EXPECT_EQ(held.size(), 80u);
  EXPECT_EQ(GetReason(admission.Admit(Wants(1, 0, flood)).status()), "QUEUE_FULL");
  const auto victim = TenantCalled("victim");
  for (int i = 0; i < 20; ++i) {
    auto ticket = admission.Admit(Wants(1, 0, victim));
    ASSERT_TRUE(ticket.ok()) << i;
    held.push_back(*ticket);
  }
  EXPECT_EQ(GetReason(admission.Admit(Wants(1, 0, victim)).status()), "QUEUE_FULL");
}

TEST(AdmissionTest, AloneATenantMayTakeAllThatIsNotReserved) {
  Admission admission({.max_evaluations = 100, .reserved_for_others = 0.2});
  EXPECT_TRUE(admission.Admit(Wants(80)).ok());
  EXPECT_EQ(GetReason(admission.Admit(Wants(81)).status()), "REQUEST_TOO_LARGE");
}

TEST(AdmissionTest, ClosedDoorRefusesButKeepsWhatWasAccepted) {
  Admission admission(Admission::Options{});
  const auto accepted = admission.Admit(Wants(5));
  admission.Close();
  const absl::Status refused = admission.Admit(Wants(5)).status();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_EQ(GetReason(refused), "DRAINING");
  EXPECT_EQ(admission.outstanding_requests(), 1);
}

TEST(AdmissionTest, NeverExceedsItsBoundsUnderConcurrentRequests) {
  Admission admission({.max_requests = 4, .max_evaluations = 20});
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const auto ticket = admission.Admit(Wants(1 + i % 9));
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
  Admission admission({.max_requests = 1, .max_evaluations = 10});
  EXPECT_TRUE(admission.Check(Wants(10)).ok());
  EXPECT_EQ(GetReason(admission.Check(Wants(11))), "REQUEST_TOO_LARGE");
  EXPECT_EQ(admission.outstanding_requests(), 0);
  const auto ticket = admission.Admit(Wants(10));
  ASSERT_TRUE(ticket.ok());
  EXPECT_EQ(GetReason(admission.Check(Wants(1))), "QUEUE_FULL");
  EXPECT_TRUE(GetRetryAfter(admission.Check(Wants(1))).has_value());
  admission.Close();
  EXPECT_EQ(GetReason(admission.Check(Wants(1))), "DRAINING");
}

}  // namespace
}  // namespace skipstream
