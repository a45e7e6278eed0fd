#include "server/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kStart = absl::FromUnixSeconds(1000);
constexpr int kSlots = 64;
constexpr Scheduler::Options kOptions = {.ageing_per_row = absl::Milliseconds(10),
                                         .rows_per_priority_class = 100};

Scheduler::Entry Entry(int remaining, Priority priority = Priority::kNormal,
                       absl::Duration accepted = absl::ZeroDuration(), NetworkId network = 1) {
  return {.ready = {.network = network, .max_batch = 16},
          .priority = priority,
          .accepted = kStart + accepted,
          .remaining_rows = remaining};
}

// The first `count` of the next batch.
std::vector<SampleId> PickedSamples(Scheduler& scheduler, size_t count, int free_slots) {
  std::vector<SampleId> samples;
  for (const Scheduler::Share& share : scheduler.Pick(kStart, free_slots)) {
    if (samples.size() < count) samples.push_back(share.sample);
  }
  return samples;
}

TEST(SchedulerTest, LeastRemainingWorkGoesFirst) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(30));
  scheduler.Add(2, Entry(10));
  scheduler.Add(3, Entry(20));
  EXPECT_THAT(PickedSamples(scheduler, 16, 16), ElementsAre(2, 3, 1));
}

TEST(SchedulerTest, TiesGoToTheOneThatCameFirst) {
  Scheduler scheduler(kOptions, kSlots);
  for (const SampleId id : {3, 1, 2}) scheduler.Add(id, Entry(10));
  EXPECT_THAT(PickedSamples(scheduler, 16, 16), ElementsAre(1, 2, 3));
}

TEST(SchedulerTest, HigherPriorityClassGoesFirstWhateverTheWork) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(1, Priority::kLow));
  scheduler.Add(2, Entry(50, Priority::kNormal));
  scheduler.Add(3, Entry(99, Priority::kHigh));
  EXPECT_THAT(PickedSamples(scheduler, 16, 16), ElementsAre(3, 2, 1));
}

TEST(SchedulerTest, WaitingOneAgeingPeriodCountsLikeOneRowLess) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(20));
  scheduler.Add(2, Entry(10, Priority::kNormal, absl::Milliseconds(99)));
  EXPECT_THAT(PickedSamples(scheduler, 1, 16), ElementsAre(2));
  scheduler.Add(3, Entry(9, Priority::kNormal, absl::Milliseconds(111)));
  scheduler.Remove(2);
  EXPECT_THAT(PickedSamples(scheduler, 1, 16), ElementsAre(1));
}

TEST(SchedulerTest, AgedSampleOfALowerClassOvertakesAFreshOne) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(5, Priority::kLow));
  scheduler.Add(2, Entry(5, Priority::kNormal, absl::Milliseconds(999)));
  EXPECT_THAT(PickedSamples(scheduler, 1, 16), ElementsAre(2));
  scheduler.Remove(2);
  scheduler.Add(3, Entry(5, Priority::kNormal, absl::Milliseconds(1001)));
  EXPECT_THAT(PickedSamples(scheduler, 1, 16), ElementsAre(1));
}

TEST(SchedulerTest, NothingStarvesUnderAnEndlessStreamOfBetterOnes) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(40, Priority::kLow));
  SampleId next = 2;
  int batches = 0;
  // One row per batch and per 10 ms; a one-row sample of the highest class arrives every time.
  for (bool done = false; !done; ++batches) {
    ASSERT_LT(batches, 1000);
    scheduler.Add(next++, Entry(1, Priority::kHigh, batches * absl::Milliseconds(10)));
    const SampleId picked = PickedSamples(scheduler, 1, 16).at(0);
    scheduler.RowsSubmitted(picked, 1, {.network = 1, .max_batch = 16});
    if (picked == 1) {
      scheduler.Remove(1);
      done = true;
    }
  }
  // Two classes (200 rows) and 39 rows more than the others: its turn comes at batch 240.
  EXPECT_EQ(batches, 240);
}

TEST(SchedulerTest, SampleIsPickedUntilItsLastRowWasSubmitted) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(2));
  scheduler.RowsSubmitted(1, 1, {.network = 1, .max_batch = 16});
  EXPECT_THAT(PickedSamples(scheduler, 16, 0), ElementsAre(1));
  scheduler.RowsSubmitted(1, 1, {.network = 1, .max_batch = 16});
  EXPECT_THAT(PickedSamples(scheduler, 16, 16), IsEmpty());
}

TEST(SchedulerTest, WaitingSamplesArePickedOnlyAsFarAsSlotsAreFree) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(50));
  scheduler.RowsSubmitted(1, 1, {.network = 1, .max_batch = 16});
  for (const SampleId id : {2, 3, 4}) scheduler.Add(id, Entry(10));
  EXPECT_THAT(PickedSamples(scheduler, 16, 2), ElementsAre(2, 3, 1));
  EXPECT_THAT(PickedSamples(scheduler, 16, 0), ElementsAre(1));
}

TEST(SchedulerTest, BatchHoldsAtMostWhatItsNetworkAllows) {
  Scheduler scheduler(kOptions, kSlots);
  for (SampleId id = 1; id <= 9; ++id) {
    Scheduler::Entry entry = Entry(10);
    entry.ready.max_batch = 4;
    scheduler.Add(id, entry);
  }
  EXPECT_EQ(scheduler.Pick(kStart, 16).size(), 4u);
}

TEST(SchedulerTest, BatchServesTheNetworkOfTheBestRowOnly) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(10, Priority::kNormal, absl::ZeroDuration(), 1));
  scheduler.Add(2, Entry(5, Priority::kNormal, absl::ZeroDuration(), 2));
  scheduler.Add(3, Entry(20, Priority::kNormal, absl::ZeroDuration(), 2));
  EXPECT_THAT(PickedSamples(scheduler, 16, 16), ElementsAre(2, 3));
}

TEST(SchedulerTest, NetworkWhoseSamplesCannotGetASlotDoesNotBlockAnother) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(50, Priority::kNormal, absl::ZeroDuration(), 1));
  scheduler.RowsSubmitted(1, 1, {.network = 1, .max_batch = 16});
  scheduler.Add(2, Entry(1, Priority::kHigh, absl::ZeroDuration(), 2));
  EXPECT_THAT(PickedSamples(scheduler, 16, 0), ElementsAre(1));
}

TEST(SchedulerTest, NetworksUnderTheSameLoadGetTheSameShare) {
  Scheduler scheduler(kOptions, kSlots);
  SampleId next = 1;
  int served[3] = {0, 0, 0};
  std::vector<NetworkId> network_of(1, 0);
  for (int batch = 0; batch < 1000; ++batch) {
    if (batch % 10 == 0) {
      // Twice the work that can be done: the queues of both grow.
      for (int i = 0; i < 4; ++i) {
        const NetworkId network = 1 + i % 2;
        scheduler.Add(next++, Entry(5, Priority::kNormal, batch * absl::Milliseconds(10), network));
        network_of.push_back(network);
      }
    }
    const SampleId picked = PickedSamples(scheduler, 1, 16).at(0);
    scheduler.RowsSubmitted(picked, 1, {.network = 1, .max_batch = 16});
    ++served[network_of[picked]];
  }
  EXPECT_NEAR(served[1], served[2], 10);
}

TEST(SchedulerTest, RemovedSampleIsNeverPicked) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(5));
  scheduler.Add(2, Entry(9));
  scheduler.RowsSubmitted(1, 1, {.network = 1, .max_batch = 16});
  scheduler.Remove(1);
  scheduler.Remove(1);  // not an error
  EXPECT_THAT(PickedSamples(scheduler, 16, 16), ElementsAre(2));
}

using Share = Scheduler::Share;

Scheduler::Entry Guided(int remaining, int max_batch = 16) {
  Scheduler::Entry entry = Entry(remaining);
  entry.ready = {.network = 1, .rows = 2, .max_batch = max_batch};
  return entry;
}

TEST(SchedulerTest, RowsThatAreReadyTogetherShareABatch) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Guided(10));
  scheduler.Add(2, Entry(20));
  EXPECT_THAT(scheduler.Pick(kStart, 16), ElementsAre(Share{1, 2}, Share{2, 1}));
}

TEST(SchedulerTest, ASampleGivesAsManyOfItsRowsAsThereIsRoomFor) {
  for (const auto& [room, expected] :
       std::vector<std::pair<int, std::vector<Share>>>{{3, {{1, 2}, {2, 1}}}, {2, {{1, 2}}}}) {
    Scheduler scheduler(kOptions, kSlots);
    scheduler.Add(1, Guided(10, room));
    scheduler.Add(2, Guided(20, room));
    EXPECT_EQ(scheduler.Pick(kStart, 16), expected);
  }
}

TEST(SchedulerTest, ASampleMovesToTheNetworkOfItsNextRow) {
  Scheduler scheduler(kOptions, kSlots);
  scheduler.Add(1, Entry(4, Priority::kNormal, absl::ZeroDuration(), 1));
  scheduler.Add(2, Entry(9, Priority::kNormal, absl::ZeroDuration(), 2));
  EXPECT_THAT(scheduler.Pick(kStart, 16), ElementsAre(Share{1, 1}));
  scheduler.RowsSubmitted(1, 1, {.network = 2, .max_batch = 16});
  EXPECT_THAT(scheduler.Pick(kStart, 16), ElementsAre(Share{1, 1}, Share{2, 1}));
  scheduler.Remove(1);
  EXPECT_THAT(scheduler.Pick(kStart, 16), ElementsAre(Share{2, 1}));
}

}  // namespace
}  // namespace skipstream
