#include "base/log_limiter.h"

#include <gtest/gtest.h>

namespace skipstream {
namespace {

TEST(LogLimiterTest, AFloodBecomesAFewLinesAndANumber) {
  LogLimiter limiter(/*max_lines=*/2, absl::Seconds(10));
  const absl::Time start = absl::UnixEpoch();
  EXPECT_EQ(limiter.Ask(start), 0);
  EXPECT_EQ(limiter.Ask(start + absl::Seconds(1)), 0);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limiter.Ask(start + absl::Seconds(9)));
  EXPECT_EQ(limiter.Ask(start + absl::Seconds(10)), 1000);
  EXPECT_EQ(limiter.Ask(start + absl::Seconds(10)), 0);
  EXPECT_FALSE(limiter.Ask(start + absl::Seconds(10)));
}

}  // namespace
}  // namespace skipstream
