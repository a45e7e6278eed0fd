#include "server/engine/engine_health.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class EngineHealthTest : public ::testing::Test {
 protected:
  EngineHealthTest() {
    health_.SetCallback([this](bool healthy) { changes_.push_back(healthy); });
  }

  const absl::Time start_ = absl::UnixEpoch();
  EngineHealth health_{/*failures_until_unhealthy=*/2, /*retry=*/absl::Seconds(10)};
  std::vector<bool> changes_;
};

TEST_F(EngineHealthTest, FailuresInARowMakeItUnhealthy) {
  health_.Record(false, start_);
  health_.Record(true, start_);
  health_.Record(false, start_);
  EXPECT_TRUE(health_.healthy());
  EXPECT_EQ(health_.NextUpdate(), absl::InfiniteFuture());
  health_.Record(false, start_ + absl::Seconds(1));
  EXPECT_FALSE(health_.healthy());
  EXPECT_EQ(health_.NextUpdate(), start_ + absl::Seconds(11));
  EXPECT_THAT(changes_, ElementsAre(false));
}

TEST_F(EngineHealthTest, ItIsTriedAgainAfterAWhileAndOneMoreFailureIsEnough) {
  health_.Record(false, start_);
  health_.Record(false, start_);
  health_.Update(start_ + absl::Seconds(9));
  EXPECT_FALSE(health_.healthy());
  health_.Update(start_ + absl::Seconds(10));
  EXPECT_TRUE(health_.healthy());
  health_.Record(false, start_ + absl::Seconds(11));
  EXPECT_FALSE(health_.healthy());
  EXPECT_EQ(health_.NextUpdate(), start_ + absl::Seconds(21));
  health_.Record(true, start_ + absl::Seconds(12));
  EXPECT_THAT(changes_, ElementsAre(false, true, false, true));
}

TEST_F(EngineHealthTest, NoChangeIsNotReported) {
  health_.Update(start_);
  health_.Record(true, start_);
  EXPECT_THAT(changes_, IsEmpty());
}

}  // namespace
}  // namespace skipstream
