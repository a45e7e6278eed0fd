// Tests that batches are split over replicas and put together again, whole or in part.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/model/execution/replica_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Call = PuppetExecutor::Call;
using Options = PuppetExecutor::Options;

TEST(ReplicaBatchesTest, ABatchIsSplitByReplicaAndItsRowsComeBackInTheirPlaces) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 6; ++seed) slots.push_back(replicas.Allocate(seed));
  // Every row's result names its sample; sample 3 is fine.
  for (const uint64_t seed : {0, 1, 2, 4, 5}) {
    replicas.puppet(seed % 2).FailRow(seed, 0, absl::InternalError(absl::StrCat("seed ", seed)));
  }
  std::vector<EvalRow> rows;
  for (const int i : {3, 5, 4, 0, 1, 2}) rows.push_back(replicas.Row(slots[i]));
  replicas.Submit(17, rows);
  ASSERT_THAT(replicas.puppet(0).batches(), SizeIs(1));
  ASSERT_THAT(replicas.puppet(1).batches(), SizeIs(1));
  EXPECT_THAT(Seeds(replicas.puppet(0).batches()[0]), ElementsAre(4, 0, 2));
  EXPECT_THAT(Seeds(replicas.puppet(1).batches()[0]), ElementsAre(3, 5, 1));
  replicas.CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(1));
  const BatchResult result = replicas.batches()[0];
  EXPECT_EQ(result.id, 17u);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(Messages(result),
              ElementsAre("OK", "seed 5", "seed 4", "seed 0", "seed 1", "seed 2"));
  EXPECT_THAT(replicas.violations(), IsEmpty());
}

TEST(ReplicaBatchesTest, MoreRowsThanAReplicaTakesMakeSeveralPartsInOrder) {
  BrokenReplicas replicas({Puppet(3), Puppet(3)});
  const PlanPtr guided = MakePlan(2, 2);
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 4; ++seed) slots.push_back(replicas.Allocate(seed, guided));
  // Replica 0 gets five rows, the two terms of sample 2 in two parts.
  replicas.puppet(0).FailRow(2, 0, absl::InternalError("seed 2"));
  replicas.Submit(1, {replicas.Row(slots[0], 0, 0), replicas.Row(slots[0], 0, 1),
                      replicas.Row(slots[2], 0, 0), replicas.Row(slots[1], 0, 0),
                      replicas.Row(slots[2], 0, 1), replicas.Row(slots[0], 1, 0)});
  const std::vector<Call> parts = replicas.puppet(0).batches();
  ASSERT_THAT(parts, SizeIs(2));
  EXPECT_THAT(Seeds(parts[0]), ElementsAre(0, 0, 2));
  EXPECT_THAT(Seeds(parts[1]), ElementsAre(2, 0));
  EXPECT_EQ(parts[1].rows[0].term, 1);
  ASSERT_THAT(replicas.puppet(1).batches(), SizeIs(1));
  replicas.puppet(1).CompleteAll();
  replicas.puppet(0).CompleteBatch();
  EXPECT_THAT(replicas.batches(), IsEmpty());
  replicas.puppet(0).CompleteBatch();
  ASSERT_THAT(replicas.batches(), SizeIs(1));
  EXPECT_THAT(Messages(replicas.batches()[0]),
              ElementsAre("OK", "OK", "seed 2", "OK", "seed 2", "OK"));
  EXPECT_THAT(replicas.violations(), IsEmpty());
}

TEST(ReplicaBatchesTest, TheBusiestReplicaSaysHowLongABatchTook) {
  Options slow = Puppet(2);
  slow.evaluation_time = [](int rows) { return absl::Milliseconds(10) * rows; };
  Options fast = Puppet(4);
  fast.evaluation_time = [](int rows) { return absl::Milliseconds(7) * rows; };
  BrokenReplicas replicas({slow, fast});
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 6; ++seed) slots.push_back(replicas.Allocate(seed));
  std::vector<EvalRow> rows;
  for (const SlotId slot : slots) rows.push_back(replicas.Row(slot));
  replicas.Submit(1, rows);  // 20 + 10 against 21
  replicas.Submit(2, {replicas.Row(slots[0], 1), replicas.Row(slots[1], 1),
                      replicas.Row(slots[3], 1)});  // 10 against 14
  replicas.CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(2));
  EXPECT_EQ(replicas.batches()[0].busy, absl::Milliseconds(30));
  EXPECT_EQ(replicas.batches()[1].busy, absl::Milliseconds(14));
}

TEST(ReplicaBatchesTest, EverythingIsReportedInTheOrderOfTheCalls) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  const SlotId first = replicas.Allocate(0);
  const SlotId second = replicas.Allocate(1);
  replicas.Submit(1, {replicas.Row(first)});
  replicas.executor().ReadOut(2, first, ReadOutKind::kPreview);
  replicas.Submit(3, {replicas.Row(second)});
  replicas.executor().ReadOut(4, second, ReadOutKind::kPreview);
  replicas.Submit(5, {replicas.Row(second, 1), replicas.Row(first, 1)});
  replicas.puppet(1).CompleteAll();
  EXPECT_THAT(replicas.listener().order(), IsEmpty());
  replicas.puppet(0).CompleteNext();
  EXPECT_THAT(replicas.listener().order(), ElementsAre(1));
  replicas.puppet(0).CompleteNext();
  EXPECT_THAT(replicas.listener().order(), ElementsAre(1, 2, 3, 4));
  replicas.puppet(0).CompleteNext();
  EXPECT_THAT(replicas.listener().order(), ElementsAre(1, 2, 3, 4, 5));
}

// While it hears of the first batch, another replica finishes the next one.
class BusyListener final : public RecordingListener {
 public:
  void OnBatchDone(BatchResult result) override {
    nested |= std::exchange(inside_, true);
    RecordingListener::OnBatchDone(std::move(result));
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    inside_ = false;
  }
  std::function<void()> meanwhile;
  bool nested = false;

 private:
  bool inside_ = false;
};

TEST(ReplicaBatchesTest, WhatFinishesDuringAReportIsReportedAfterIt) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  BusyListener listener;
  replicas.executor().SetListener(&listener);
  replicas.Submit(1, {replicas.Row(replicas.Allocate(0))});
  replicas.Submit(2, {replicas.Row(replicas.Allocate(1))});
  listener.meanwhile = [&] { replicas.puppet(1).CompleteNext(); };
  replicas.puppet(0).CompleteNext();
  EXPECT_THAT(listener.order(), ElementsAre(1, 2));
  EXPECT_FALSE(listener.nested);
}

// --- Failures ---

TEST(ReplicaBatchesTest, ABatchFailsWithItsFirstPartWhenAllPartsFail) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  const SlotId first = replicas.Allocate(0);
  const SlotId second = replicas.Allocate(1);
  replicas.puppet(0).FailNextBatches(1, absl::InternalError("replica 0"));
  replicas.puppet(1).FailNextBatches(1, absl::UnavailableError("replica 1"));
  replicas.Submit(1, {replicas.Row(second), replicas.Row(first)});
  replicas.puppet(0).CompleteAll();
  replicas.puppet(1).CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(1));
  EXPECT_EQ(replicas.batches()[0].status, absl::UnavailableError("replica 1"));
  EXPECT_THAT(replicas.batches()[0].row_status, IsEmpty());
}

TEST(ReplicaBatchesTest, RowsOfAFailedPartFailAndTheOthersDoNot) {
  BrokenReplicas replicas({Puppet(), Puppet(), Puppet()});
  std::vector<EvalRow> rows;
  for (uint64_t seed = 0; seed < 5; ++seed) rows.push_back(replicas.Row(replicas.Allocate(seed)));
  replicas.puppet(0).FailNextBatches(1, absl::UnavailableError("lost"));
  replicas.puppet(1).FailRow(4, 0, absl::InternalError("NaN"));
  replicas.puppet(2).FailNextBatches(1, absl::InternalError("broken"));
  replicas.Submit(1, rows);
  replicas.CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(1));
  EXPECT_TRUE(replicas.batches()[0].status.ok()) << replicas.batches()[0].status;
  EXPECT_THAT(
      replicas.batches()[0].row_status,
      ElementsAre(absl::UnavailableError("lost"), absl::OkStatus(), absl::InternalError("broken"),
                  absl::UnavailableError("lost"), absl::InternalError("NaN")));
}

// Reports a row too few.
class MiscountingExecutor final : public PuppetExecutor, private ExecutorListener {
 public:
  explicit MiscountingExecutor(Options options) : PuppetExecutor(std::move(options)) {}
  void SetListener(ExecutorListener* listener) override {
    listener_ = listener;
    PuppetExecutor::SetListener(this);
  }

 private:
  void OnBatchDone(BatchResult result) override {
    result.row_status.pop_back();
    listener_->OnBatchDone(std::move(result));
  }
  void OnReadOut(ReadOutResult result) override { listener_->OnReadOut(std::move(result)); }

  ExecutorListener* listener_ = nullptr;
};

TEST(ReplicaBatchesTest, AReplicaThatMiscountsFailsItsPart) {
  Replicas<MiscountingExecutor> replicas({Puppet()});
  const SlotId slot = replicas.Allocate(0);
  replicas.Submit(1, {replicas.Row(slot)});
  replicas.CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(1));
  EXPECT_EQ(replicas.batches()[0].status,
            absl::InternalError("a replica reported 0 results for 1 rows"));
}

// Refuses batches as row_checks.h says, and fails the later rows of their samples alone.
class StrictExecutor final : public PuppetExecutor {
 public:
  explicit StrictExecutor(Options options) : PuppetExecutor(std::move(options)) {}

  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override {
    const absl::StatusOr<SlotId> slot = PuppetExecutor::AllocateSlot(init);
    if (slot.ok()) live_.insert(*slot);
    return slot;
  }
  void FreeSlot(SlotId slot) override {
    live_.erase(slot);
    PuppetExecutor::FreeSlot(slot);
  }
  void Submit(StepBatch batch) override {
    const bool fits = !batch.rows.empty() && batch.rows.size() <= size_t(max_batch()) &&
                      std::all_of(batch.rows.begin(), batch.rows.end(),
                                  [&](const EvalRow& row) { return live_.contains(row.slot); });
    queue_.push_back({fits, batch.rows});
    PuppetExecutor::Submit(std::move(batch));
  }

 private:
  absl::Status BatchFault() override {
    const auto [fits, rows] = std::move(queue_.front());
    queue_.pop_front();
    if (fits) return absl::OkStatus();
    for (const EvalRow& row : rows) failed_.insert(row.slot);
    return absl::InvalidArgumentError("refused by the replica");
  }
  absl::Status RowFault(const Row& row) override {
    return failed_.contains(row.slot) ? absl::InternalError("failed before") : absl::OkStatus();
  }

  std::set<SlotId> live_;
  std::deque<std::pair<bool, std::vector<EvalRow>>> queue_;
  std::set<SlotId> failed_;
};

TEST(ReplicaBatchesTest, RowsWithoutASlotFailTheirBatchInItsTurn) {
  Replicas<StrictExecutor> replicas({Puppet(2, 3), Puppet(2, 3)});
  const SlotId slot = replicas.Allocate(0);
  const SlotId freed = replicas.Allocate(1);
  const SlotId other = replicas.Allocate(2);  // on replica 0 as well
  replicas.executor().FreeSlot(freed);
  const auto expect_refusal = [&](std::vector<EvalRow> rows, const std::string& message) {
    const size_t before = replicas.batches().size();
    replicas.Submit(100 + before, std::move(rows));
    EXPECT_THAT(replicas.batches(), SizeIs(before)) << "reported by Submit";
    replicas.CompleteAll();
    ASSERT_THAT(replicas.batches(), SizeIs(before + 1)) << message;
    const BatchResult result = replicas.batches().back();
    EXPECT_EQ(result.id, 100 + before);
    EXPECT_EQ(result.status, absl::InvalidArgumentError(message));
    EXPECT_THAT(result.row_status, IsEmpty());
  };
  expect_refusal({replicas.Row(-1)}, "row 0: slot -1 is not allocated");
  expect_refusal({replicas.Row(6)}, "row 0: slot 6 is not allocated");
  expect_refusal({replicas.Row(5)}, "row 0: slot 5 is not allocated");
  expect_refusal({}, "a batch has 1 to 4 rows, not 0");
  expect_refusal({replicas.Row(other), replicas.Row(freed)},
                 absl::StrCat("row 1: slot ", freed, " is not allocated"));
  expect_refusal(std::vector<EvalRow>(5, replicas.Row(other)), "a batch has 1 to 4 rows, not 5");
  // A batch that fits still runs.
  replicas.Submit(1, {replicas.Row(slot)});
  replicas.CompleteAll();
  EXPECT_THAT(Messages(replicas.batches().back()), ElementsAre("OK"));
}

TEST(ReplicaBatchesTest, ARefusedBatchFailsItsSamplesButNotTheBatchesBehindIt) {
  Replicas<StrictExecutor> replicas({Puppet(2), Puppet(2)});
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 4; ++seed) slots.push_back(replicas.Allocate(seed));
  replicas.Submit(1, {replicas.Row(slots[0]), replicas.Row(99), replicas.Row(slots[1])});
  replicas.Submit(2, {replicas.Row(slots[0], 1), replicas.Row(slots[1], 1), replicas.Row(slots[2]),
                      replicas.Row(slots[3])});
  replicas.CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(2));
  EXPECT_EQ(replicas.batches()[0].status,
            absl::InvalidArgumentError("row 1: slot 99 is not allocated"));
  EXPECT_TRUE(replicas.batches()[1].status.ok()) << replicas.batches()[1].status;
  EXPECT_THAT(Messages(replicas.batches()[1]),
              ElementsAre("failed before", "failed before", "OK", "OK"));
}

TEST(ReplicaBatchesTest, ABatchOfAnUnknownNetworkFails) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  const SlotId slot = replicas.Allocate(0);
  replicas.executor().Submit({1, 99, {replicas.Row(slot)}});
  replicas.CompleteAll();
  ASSERT_THAT(replicas.batches(), SizeIs(1));
  EXPECT_EQ(replicas.batches()[0].status, absl::NotFoundError("network 99 is not loaded"));
}

}  // namespace
}  // namespace skipstream
