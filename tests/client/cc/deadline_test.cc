#include "client/cc/deadline.h"

#include <gtest/gtest.h>

#include <limits>

namespace skipstream::client {
namespace {

TEST(DeadlineTest, CountsDownToWhatHasPassed) {
  const Deadline deadline = Deadline::In(absl::Hours(1));
  EXPECT_FALSE(deadline.never());
  EXPECT_LE(deadline.Left(), absl::Hours(1));
  EXPECT_GT(deadline.Left(), absl::Minutes(59));
  EXPECT_LE(Deadline::In(absl::Seconds(-1)).Left(), absl::Seconds(-1));
}

TEST(DeadlineTest, WhatNoClockReachesIsNoDeadline) {
  EXPECT_TRUE(Deadline().never());
  for (const double seconds : {1e10, 1e300, std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(Deadline::In(absl::Seconds(seconds)).never()) << seconds;
    EXPECT_EQ(Deadline::In(absl::Seconds(seconds)).Left(), absl::InfiniteDuration());
  }
}

}  // namespace
}  // namespace skipstream::client
