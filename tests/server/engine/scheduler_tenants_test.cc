// Shares between tenants, deadlines at risk, and what goes before a sample.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/engine/scheduler.h"

namespace skipstream {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kStart = absl::FromUnixSeconds(1000);
constexpr absl::Duration kMillisecond = absl::Milliseconds(1);

struct EntryOptions {
  std::string tenant = "a";
  double weight = 1.0;
  int rows = 100;
  absl::Time deadline = absl::InfiniteFuture();
  NetworkId network = 1;
  int max_batch = 4;
};

// Every row takes a millisecond, and a quarter of one in full batches.
Scheduler::Entry Entry(const EntryOptions& options) {
  return {.ready = {.network = options.network, .max_batch = options.max_batch},
          .accepted = kStart,
          .remaining_rows = options.rows,
          .tenant = std::make_shared<const Tenant>(
              Tenant{.name = options.tenant, .weight = options.weight}),
          .deadline = options.deadline,
          .time_per_row = kMillisecond,
          .device_time_per_row = kMillisecond / 4};
}

class SchedulerTenantsTest : public ::testing::Test {
 protected:
  SampleId Add(const EntryOptions& options) {
    scheduler_.Add(++last_, Entry(options));
    entries_[last_] = Entry(options);
    return last_;
  }

  // Submits the next batches; rows by tenant.
  std::map<std::string, int> Serve(int batches) {
    std::map<std::string, int> rows;
    for (int i = 0; i < batches; ++i) {
      for (const Scheduler::Share& share : scheduler_.Pick(kStart, /*free_slots=*/1000)) {
        const Scheduler::Entry& entry = entries_.at(share.sample);
        scheduler_.RowsSubmitted(share.sample, share.rows, entry.ready);
        rows[entry.tenant->name] += share.rows;
      }
    }
    return rows;
  }
  std::vector<SampleId> Picked(absl::Time now, int free_slots = 1000) {
    std::vector<SampleId> samples;
    for (const Scheduler::Share& share : scheduler_.Pick(now, free_slots)) {
      samples.push_back(share.sample);
    }
    return samples;
  }

  Scheduler scheduler_{{.ageing_per_row = absl::Milliseconds(10),
                        .rows_per_priority_class = 100,
                        .reserved_slots = 2},
                       /*num_slots=*/12};
  SampleId last_ = 0;
  std::map<SampleId, Scheduler::Entry> entries_;
};

TEST_F(SchedulerTenantsTest, TenantsShareEqually) {
  for (int i = 0; i < 20; ++i) Add({.tenant = "many", .rows = 5});
  Add({.tenant = "few", .rows = 50});
  Add({.tenant = "few", .rows = 50});
  EXPECT_EQ(Serve(10), (std::map<std::string, int>{{"few", 20}, {"many", 20}}));
}

TEST_F(SchedulerTenantsTest, TenantsShareByTheirWeights) {
  for (int i = 0; i < 20; ++i) {
    Add({.tenant = "one", .weight = 1});
    Add({.tenant = "three", .weight = 3});
  }
  EXPECT_EQ(Serve(100), (std::map<std::string, int>{{"one", 100}, {"three", 300}}));
}

TEST_F(SchedulerTenantsTest, WhatATenantLeavesTheOthersTake) {
  for (int i = 0; i < 20; ++i) Add({.tenant = "many"});
  Add({.tenant = "lone"});  // one row per batch is all it can use
  EXPECT_EQ(Serve(10), (std::map<std::string, int>{{"lone", 10}, {"many", 30}}));
}

TEST_F(SchedulerTenantsTest, IdlingSavesUpNothing) {
  for (int i = 0; i < 50; ++i) Add({.tenant = "busy"});
  Serve(100);
  for (int i = 0; i < 50; ++i) Add({.tenant = "back"});
  EXPECT_NEAR(Serve(10).at("back"), 20, 1);
}

TEST_F(SchedulerTenantsTest, ATenantThatWasServedAloneOwesNothingLater) {
  for (int i = 0; i < 4; ++i) Add({.tenant = "alone", .rows = 1000});
  Serve(500);
  for (int i = 0; i < 4; ++i) Add({.tenant = "new"});
  EXPECT_EQ(Serve(10), (std::map<std::string, int>{{"alone", 20}, {"new", 20}}));
}

TEST_F(SchedulerTenantsTest, NewcomerFindsASlotThoughOthersWantThemAll) {
  int free_slots = 12;
  std::set<SampleId> started;
  // Ever shorter ones arrive and go before those that run, which keep their slots.
  for (int batch = 0; batch < 30; ++batch) {
    for (int i = 0; i < 4; ++i) Add({.tenant = "flood", .rows = 900 - 20 * batch - i});
    for (const SampleId sample : Picked(kStart, free_slots)) {
      scheduler_.RowsSubmitted(sample, 1, entries_.at(sample).ready);
      if (started.insert(sample).second) --free_slots;
    }
  }
  EXPECT_EQ(free_slots, 2);
  const SampleId newcomer = Add({.tenant = "newcomer"});
  EXPECT_THAT(Picked(kStart, free_slots), Contains(newcomer));
}

TEST_F(SchedulerTenantsTest, BatchServesTheNetworkOfTheTenantWhoseTurnItIs) {
  for (int i = 0; i < 8; ++i) Add({.tenant = "first", .network = 1});
  for (int i = 0; i < 8; ++i) Add({.tenant = "second", .network = 2});
  EXPECT_EQ(Serve(1), (std::map<std::string, int>{{"first", 4}}));
  EXPECT_EQ(Serve(1), (std::map<std::string, int>{{"second", 4}}));
  EXPECT_EQ(Serve(1), (std::map<std::string, int>{{"first", 4}}));
}

TEST_F(SchedulerTenantsTest, SampleAtRiskGoesFirst) {
  Add({.rows = 10});
  const SampleId late = Add({.rows = 40, .deadline = kStart + 100 * kMillisecond});
  // Without a pause it takes 40 ms, and all that has a deadline, it alone, 10 ms of the device;
  // with the margin of a half it has to start 75 ms before its deadline.
  EXPECT_THAT(Picked(kStart + 24 * kMillisecond), ElementsAre(1, late));
  EXPECT_THAT(Picked(kStart + 25 * kMillisecond), ElementsAre(late, 1));
}

TEST_F(SchedulerTenantsTest, WhatElseHasADeadlineMakesForRiskEarlier) {
  Add({.rows = 10});
  const SampleId sample = Add({.rows = 40, .deadline = kStart + absl::Seconds(1)});
  EXPECT_THAT(Picked(kStart), ElementsAre(1, sample));
  const SampleId other = Add({.rows = 4000, .deadline = kStart + absl::Seconds(30)});
  EXPECT_THAT(Picked(kStart), ElementsAre(sample, 1, other));
}

TEST_F(SchedulerTenantsTest, EarlierDeadlineFirstAmongThoseAtRisk) {
  const SampleId second = Add({.rows = 100, .deadline = kStart + 60 * kMillisecond});
  const SampleId first = Add({.rows = 200, .deadline = kStart + 50 * kMillisecond});
  EXPECT_THAT(Picked(kStart), ElementsAre(first, second));
}

TEST_F(SchedulerTenantsTest, DeadlinesOfOneTenantTakeNothingFromAnother) {
  for (int i = 0; i < 20; ++i) Add({.tenant = "hasty", .deadline = kStart});
  for (int i = 0; i < 20; ++i) Add({.tenant = "calm"});
  EXPECT_EQ(Serve(10), (std::map<std::string, int>{{"calm", 20}, {"hasty", 20}}));
}

TEST_F(SchedulerTenantsTest, MovedDeadlineCounts) {
  Add({.rows = 10});
  const SampleId sample = Add({.rows = 50, .deadline = kStart + 10 * kMillisecond});
  EXPECT_THAT(Picked(kStart), ElementsAre(sample, 1));
  scheduler_.SetDeadline(sample, kStart + absl::Seconds(1));
  EXPECT_THAT(Picked(kStart), ElementsAre(1, sample));
  EXPECT_THAT(Picked(kStart + absl::Seconds(1)), ElementsAre(sample, 1));
}

TEST_F(SchedulerTenantsTest, AheadByRankAreTheBetterOnesOfTheSameTenant) {
  Add({.rows = 30});
  Add({.rows = 10});
  Add({.rows = 90});
  const Scheduler::WorkAhead ahead = scheduler_.AheadByRank(Entry({.rows = 50}));
  EXPECT_THAT(ahead.samples, ElementsAre(10, 30));
  EXPECT_EQ(ahead.other_time, absl::ZeroDuration());
}

TEST_F(SchedulerTenantsTest, AheadByDeadlineAreThoseThatCannotWaitLonger) {
  Add({.rows = 10});
  Add({.rows = 500, .deadline = kStart + absl::Seconds(2)});
  Add({.rows = 20, .deadline = kStart + absl::Seconds(9)});
  const Scheduler::WorkAhead ahead =
      scheduler_.AheadByDeadline(Entry({.rows = 50, .deadline = kStart + absl::Seconds(5)}));
  EXPECT_THAT(ahead.samples, ElementsAre(500));
}

TEST_F(SchedulerTenantsTest, AheadOfOtherNetworksCountsAsDeviceTime) {
  Add({.rows = 40, .network = 2});
  const Scheduler::WorkAhead ahead = scheduler_.AheadByRank(Entry({.rows = 50}));
  EXPECT_THAT(ahead.samples, IsEmpty());
  EXPECT_EQ(ahead.other_time, absl::Milliseconds(10));
}

TEST_F(SchedulerTenantsTest, OtherTenantsAreAheadByTheirShareOnly) {
  Add({.tenant = "other", .rows = 1000});
  Add({.tenant = "small", .rows = 8});
  Add({.tenant = "a", .rows = 20});
  const Scheduler::WorkAhead ahead = scheduler_.AheadByRank(Entry({.tenant = "a", .rows = 60}));
  EXPECT_THAT(ahead.samples, ElementsAre(20));
  // It has 80 rows: the other is due 80 of its 1000 meanwhile, the small one all of its 8.
  EXPECT_EQ(absl::ToDoubleMilliseconds(ahead.other_time), 88 / 4.0);
}

TEST_F(SchedulerTenantsTest, WithVeryManySamplesSumsStandForThem) {
  for (size_t i = 0; i <= Scheduler::kMaxExactSamples; ++i) Add({.rows = 4});
  Add({.rows = 4000, .deadline = kStart + absl::Seconds(10)});
  const SampleId earlier = Add({.rows = 400, .deadline = kStart + absl::Seconds(3)});
  const Scheduler::Entry entry = Entry({.rows = 1, .deadline = kStart + absl::Seconds(5)});
  const Scheduler::WorkAhead by_rank = scheduler_.AheadByRank(entry);
  EXPECT_THAT(by_rank.samples, IsEmpty());
  EXPECT_EQ(by_rank.other_time, kMillisecond * (Scheduler::kMaxExactSamples + 1 + 1100));
  EXPECT_EQ(scheduler_.AheadByDeadline(entry).other_time, kMillisecond * 100);
  EXPECT_EQ(scheduler_.AheadByRank(Entry({.tenant = "new", .rows = 4})).other_time, kMillisecond);
  scheduler_.Remove(earlier);
  EXPECT_EQ(scheduler_.AheadByDeadline(entry).other_time, absl::ZeroDuration());
}

}  // namespace
}  // namespace skipstream
