#include "client/cc/retry.h"

#include <google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include "client/cc/rpc_status.h"
#include "tests/client/fake_server.h"

namespace skipstream::client {
namespace {

using skipstream::testing::RetryInfoStatus;

RetryPolicy Policy() {
  RetryPolicy policy;
  policy.max_attempts = 6;
  policy.initial_backoff = absl::Milliseconds(100);
  policy.multiplier = 2;
  policy.max_backoff = absl::Milliseconds(500);
  policy.jitter = 0.2;
  policy.max_total_wait = absl::Seconds(3);
  return policy;
}

absl::Status Full(absl::Duration delay) {
  return FromGrpcStatus(RetryInfoStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, delay));
}

TEST(RetryScheduleTest, BacksOffExponentiallyUpToTheLongestWait) {
  RetrySchedule schedule(Policy());
  const absl::Status gone = absl::UnavailableError("gone");
  EXPECT_EQ(schedule.NextWait(gone, 0), absl::Milliseconds(100));
  EXPECT_EQ(schedule.NextWait(gone, 0), absl::Milliseconds(200));
  EXPECT_EQ(schedule.NextWait(gone, 0), absl::Milliseconds(400));
  EXPECT_EQ(schedule.NextWait(gone, 0), absl::Milliseconds(500));
  EXPECT_EQ(schedule.NextWait(gone, 0), absl::Milliseconds(500));
  EXPECT_EQ(schedule.NextWait(gone, 0), std::nullopt);
}

TEST(RetryScheduleTest, JitterLengthensTheWaitByItsShare) {
  RetrySchedule schedule(Policy());
  EXPECT_EQ(schedule.NextWait(absl::UnavailableError("gone"), 0.5), absl::Milliseconds(110));
}

TEST(RetryScheduleTest, ProgressStartsTheCountAnew) {
  RetrySchedule schedule(Policy());
  for (int i = 0; i < 5; ++i) schedule.NextWait(absl::UnavailableError("gone"), 0);
  schedule.NoteProgress();
  EXPECT_EQ(schedule.NextWait(absl::UnavailableError("gone"), 0), absl::Milliseconds(100));
}

TEST(RetryScheduleTest, WaitsAtLeastAsLongAsTheServerSays) {
  RetrySchedule schedule(Policy());
  EXPECT_EQ(schedule.NextWait(Full(absl::Seconds(2)), 0), absl::Seconds(2));
}

TEST(RetryScheduleTest, AServerThatSaysNowIsNotHammered) {
  RetrySchedule schedule(Policy());
  EXPECT_EQ(schedule.NextWait(Full(absl::ZeroDuration()), 0), absl::Milliseconds(100));
}

TEST(RetryScheduleTest, TheSumOfWaitsIsBounded) {
  RetrySchedule schedule(Policy());
  EXPECT_NE(schedule.NextWait(Full(absl::Seconds(2)), 0), std::nullopt);
  EXPECT_EQ(schedule.NextWait(Full(absl::Seconds(2)), 0), std::nullopt);
}

TEST(RetryScheduleTest, WhatADrainingServerTurnsAwayDoesNotCount) {
  google::rpc::ErrorInfo info;
  info.set_reason("DRAINING");
  const absl::Status draining = FromGrpcStatus(skipstream::testing::StatusWithDetails(
      grpc::StatusCode::UNAVAILABLE, "the server is draining", {&info}));
  RetryPolicy policy = Policy();
  policy.max_attempts = 2;
  policy.max_total_wait = absl::Seconds(100);
  RetrySchedule schedule(policy);
  EXPECT_EQ(schedule.NextWait(draining, 0), absl::Milliseconds(100));
  EXPECT_EQ(schedule.NextWait(draining, 0), absl::Milliseconds(200));
  for (int i = 0; i < 20; ++i) EXPECT_NE(schedule.NextWait(draining, 0), std::nullopt);
  EXPECT_EQ(schedule.NextWait(absl::UnavailableError("gone"), 0), absl::Milliseconds(100));
  EXPECT_EQ(schedule.NextWait(absl::UnavailableError("gone"), 0), std::nullopt);
  policy.max_attempts = 1;
  EXPECT_EQ(RetrySchedule(policy).NextWait(draining, 0), std::nullopt);
}

TEST(RetryScheduleTest, AStreamThatTheOtherSideCutIsRetried) {
  RetrySchedule schedule(Policy());
  EXPECT_NE(schedule.NextWait(absl::InternalError("Received RST_STREAM with error code 2"), 0),
            std::nullopt);
  EXPECT_NE(schedule.NextWait(absl::UnknownError("Stream removed"), 0), std::nullopt);
  EXPECT_NE(schedule.NextWait(absl::CancelledError("CANCELLED"), 0), std::nullopt);
}

TEST(RetryScheduleTest, NothingElseIsRetried) {
  RetrySchedule schedule(Policy());
  EXPECT_EQ(schedule.NextWait(absl::ResourceExhaustedError("no delay given"), 0), std::nullopt);
  EXPECT_EQ(schedule.NextWait(absl::InternalError("bug"), 0), std::nullopt);
  EXPECT_EQ(schedule.NextWait(absl::CancelledError(), 0), std::nullopt);
  EXPECT_EQ(schedule.NextWait(absl::InvalidArgumentError("nfe"), 0), std::nullopt);
}

TEST(RpcStatusTest, KeepsCodeMessageAndEveryDetail) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  const absl::Status status = FromGrpcStatus(skipstream::testing::StatusWithDetails(
      grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", {&info, &retry}));
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(), "the queue is full");
  EXPECT_EQ(GetErrorReason(status), "QUEUE_FULL");
  EXPECT_EQ(GetRetryDelay(status), absl::Milliseconds(1500));
}

TEST(RpcStatusTest, DoesNotRepeatViolationsTheMessageListsAlready) {
  google::rpc::BadRequest bad_request;
  auto& violation = *bad_request.add_field_violations();
  violation.set_field("count");
  violation.set_description("must be 1 to 64");
  const std::string message = "count: must be 1 to 64";
  const absl::Status status = FromGrpcStatus(skipstream::testing::StatusWithDetails(
      grpc::StatusCode::INVALID_ARGUMENT, message, {&bad_request}));
  EXPECT_EQ(status.message(), message);
}

TEST(RpcStatusTest, UnreadableDetailsAreLeftOut) {
  const absl::Status status =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::INTERNAL, "bug", "\xff\xff not a message"));
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(status.message(), "bug");
  EXPECT_TRUE(GetFieldViolations(status).empty());
  EXPECT_EQ(GetRetryDelay(status), std::nullopt);
}

}  // namespace
}  // namespace skipstream::client
