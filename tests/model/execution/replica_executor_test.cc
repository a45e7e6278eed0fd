#include "model/execution/replica_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/model/execution/replica_harness.h"

namespace skipstream {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Call = PuppetExecutor::Call;
using Options = PuppetExecutor::Options;

// Returns the image that a lone puppet makes of the sample after `nfe` steps.
Image Alone(uint64_t seed, const PlanPtr& plan, int nfe) {
  PuppetExecutor puppet(Puppet());
  RecordingListener listener;
  puppet.SetListener(&listener);
  const NetworkId network = *puppet.LoadNetwork(kPath);
  const SlotId slot = *puppet.AllocateSlot({network, seed, plan});
  for (int step = 0; step < nfe; ++step) puppet.Submit({1, network, {{slot, -1, plan, step, 0}}});
  puppet.ReadOut(1, slot, ReadOutKind::kFinal);
  puppet.CompleteAll();
  return listener.WaitForReadOuts(1)[0].image;
}

// --- Limits and slots ---

TEST(ReplicaExecutorTest, LimitsAddUpExceptForBatchesInFlight) {
  BrokenReplicas replicas({{.max_batch = 4, .num_slots = 6, .max_in_flight = 2},
                           {.max_batch = 4, .num_slots = 6, .max_in_flight = 1},
                           {.max_batch = 4, .num_slots = 6, .max_in_flight = 2}});
  EXPECT_EQ(replicas.executor().max_batch(), 12);
  EXPECT_EQ(replicas.executor().num_slots(), 18);
  EXPECT_EQ(replicas.executor().max_in_flight(), 1);
}

TEST(ReplicaExecutorTest, ASampleGoesWhereTheFewestAre) {
  BrokenReplicas replicas({Puppet(), Puppet(), Puppet()});
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 7; ++seed) slots.push_back(replicas.Allocate(seed));
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(3, 2, 2));  // ties: the lowest replica
  replicas.executor().FreeSlot(slots[2]);
  replicas.executor().FreeSlot(slots[5]);
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(3, 2, 0));
  replicas.Allocate(10);
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(3, 2, 1));
  replicas.Allocate(11);
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(3, 2, 2));
  replicas.Allocate(12);
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(3, 3, 2));
  EXPECT_THAT(replicas.violations(), IsEmpty());
}

TEST(ReplicaExecutorTest, AFullReplicaIsPassedOverUntilAllAreFull) {
  BrokenReplicas replicas({Puppet(8, 1), Puppet(8, 3)});
  std::set<SlotId> slots;
  for (uint64_t seed = 0; seed < 4; ++seed) slots.insert(replicas.Allocate(seed));
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(1, 3));
  EXPECT_THAT(slots, ElementsAre(0, 1, 2, 3));
  const auto refused = replicas.executor().AllocateSlot({replicas.network(), 9, MakePlan(1)});
  EXPECT_EQ(refused.status(), absl::ResourceExhaustedError("all 4 slots are taken"));
  replicas.executor().FreeSlot(2);
  EXPECT_EQ(replicas.Allocate(5), 2);
}

TEST(ReplicaExecutorTest, AReplicaShortOfMemoryDoesNotHoldUpTheOthers) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  const absl::Status no_memory = absl::ResourceExhaustedError("no memory");
  replicas.puppet(0).FailAllocation(7, no_memory);
  replicas.Allocate(7);
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(0, 1));
  replicas.puppet(0).FailAllocation(8, no_memory);
  replicas.puppet(1).FailAllocation(8, no_memory);
  const SlotInit init = {replicas.network(), 8, MakePlan(1)};
  EXPECT_EQ(replicas.executor().AllocateSlot(init).status(), no_memory);
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(0, 1));
}

TEST(ReplicaExecutorTest, ASampleThatCannotStartIsNotTriedElsewhere) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  replicas.puppet(0).FailAllocation(7, absl::InvalidArgumentError("bad picture"));
  const SlotInit init = {replicas.network(), 7, MakePlan(1)};
  EXPECT_EQ(replicas.executor().AllocateSlot(init).status(),
            absl::InvalidArgumentError("bad picture"));
  EXPECT_THAT(replicas.slots_in_use(), ElementsAre(0, 0));
  EXPECT_EQ(replicas.executor().AllocateSlot({99, 1, MakePlan(1)}).status(),
            absl::NotFoundError("network 99 is not loaded"));
}

// --- Read-outs ---

TEST(ReplicaExecutorTest, AReadOutGivesTheSampleOfItsSlot) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  const PlanPtr plan = MakePlan(4);
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 4; ++seed) slots.push_back(replicas.Allocate(seed, plan));
  replicas.Submit(1, {replicas.Row(slots[3]), replicas.Row(slots[2])});
  for (uint64_t seed = 0; seed < 4; ++seed) {
    replicas.executor().ReadOut(40 + seed, slots[seed], ReadOutKind::kFinal);
  }
  replicas.CompleteAll();
  ASSERT_THAT(replicas.read_outs(), SizeIs(4));
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const ReadOutResult result = replicas.read_outs()[seed];
    EXPECT_EQ(result.id, 40 + seed);
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.image.data, Alone(seed, plan, seed < 2 ? 0 : 1).data) << seed;
  }
  EXPECT_NE(Alone(0, plan, 0).data, Alone(0, plan, 1).data);
  EXPECT_EQ(replicas.puppet(0).calls().back().kind, Call::kReadFinal);
  replicas.executor().ReadOut(50, slots[0], ReadOutKind::kPreview);
  EXPECT_EQ(replicas.puppet(0).calls().back().kind, Call::kReadPreview);
  EXPECT_THAT(replicas.violations(), IsEmpty());
}

TEST(ReplicaExecutorTest, AFailedReadOutSaysWhy) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  replicas.Allocate(0);
  const SlotId slot = replicas.Allocate(1);
  replicas.puppet(1).FailReadOut(1, ReadOutKind::kFinal, absl::InternalError("lost"));
  replicas.executor().ReadOut(8, slot, ReadOutKind::kFinal);
  replicas.CompleteAll();
  ASSERT_THAT(replicas.read_outs(), SizeIs(1));
  EXPECT_EQ(replicas.read_outs()[0].id, 8u);
  EXPECT_EQ(replicas.read_outs()[0].status, absl::InternalError("lost"));
}

TEST(ReplicaExecutorTest, AReadOutWithoutASlotIsRefusedInItsTurn) {
  BrokenReplicas replicas({Puppet(), Puppet()});
  const SlotId slot = replicas.Allocate(0);
  const SlotId freed = replicas.Allocate(1);
  replicas.executor().FreeSlot(freed);
  replicas.executor().ReadOut(1, slot, ReadOutKind::kFinal);
  for (const SlotId none : {-1, 16, freed}) {
    replicas.executor().ReadOut(10 + none, none, ReadOutKind::kFinal);
  }
  EXPECT_THAT(replicas.read_outs(), IsEmpty());
  replicas.CompleteAll();
  ASSERT_THAT(replicas.read_outs(), SizeIs(4));
  EXPECT_TRUE(replicas.read_outs()[0].status.ok());
  const std::array<SlotId, 3> none = {-1, 16, freed};
  for (size_t i = 0; i < none.size(); ++i) {
    const ReadOutResult result = replicas.read_outs()[i + 1];
    EXPECT_EQ(result.id, uint64_t(10 + none[i]));
    EXPECT_EQ(result.status,
              absl::InvalidArgumentError(absl::StrCat("slot ", none[i], " is not allocated")));
    EXPECT_THAT(result.image.data, IsEmpty());
  }
}

TEST(ReplicaExecutorTest, ASlotFreedInFlightCanBeHandedOutAtOnce) {
  BrokenReplicas replicas({Puppet(8, 1), Puppet(8, 1)});
  const PlanPtr plan = MakePlan(4);
  replicas.Allocate(0, plan);
  const SlotId slot = replicas.Allocate(1, plan);
  replicas.Submit(1, {replicas.Row(slot)});
  replicas.executor().ReadOut(2, slot, ReadOutKind::kFinal);
  replicas.executor().FreeSlot(slot);
  const SlotId next = replicas.Allocate(2, plan);
  replicas.executor().ReadOut(3, next, ReadOutKind::kFinal);
  replicas.CompleteAll();
  ASSERT_THAT(replicas.read_outs(), SizeIs(2));
  EXPECT_EQ(replicas.read_outs()[0].image.data, Alone(1, plan, 1).data);
  EXPECT_EQ(replicas.read_outs()[1].image.data, Alone(2, plan, 0).data);
  EXPECT_THAT(replicas.violations(), IsEmpty());
}

// --- Networks ---

TEST(ReplicaExecutorTest, ANetworkIsLoadedUsedAndUnloadedOnEveryReplica) {
  BrokenReplicas replicas({Puppet(), Puppet(), Puppet()});
  const auto second = replicas.executor().LoadNetwork("second.safetensors");
  ASSERT_TRUE(second.ok());
  EXPECT_NE(*second, replicas.network());
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(replicas.puppet(i).networks(), SizeIs(2 + i));
    const auto info = replicas.puppet(i).GetNetworkInfo(2 + i);
    EXPECT_EQ(replicas.executor().GetNetworkInfo(*second).sha256, info.sha256);
  }
  EXPECT_NE(replicas.executor().GetNetworkInfo(*second).sha256,
            replicas.executor().GetNetworkInfo(replicas.network()).sha256);
  const PlanPtr plan = MakePlan(1);
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const auto slot = replicas.executor().AllocateSlot({*second, seed, plan});
    ASSERT_TRUE(slot.ok());
    replicas.executor().Submit({seed, *second, {{*slot, -1, plan, 0, 0}}});
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(replicas.puppet(i).calls()[0].network, 2 + i);
    EXPECT_EQ(replicas.puppet(i).calls()[1].network, 2 + i);
  }
  replicas.CompleteAll();
  EXPECT_THAT(replicas.violations(), IsEmpty());
  replicas.executor().UnloadNetwork(*second);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(replicas.puppet(i).networks(), SizeIs(1 + i));
    EXPECT_FALSE(replicas.puppet(i).networks().contains(2 + i));
  }
  EXPECT_EQ(replicas.executor().AllocateSlot({*second, 1, plan}).status().code(),
            absl::StatusCode::kNotFound);
  replicas.executor().UnloadNetwork(*second);  // no longer there: nothing happens
  EXPECT_THAT(replicas.violations(), IsEmpty());
}

TEST(ReplicaExecutorTest, ANetworkThatOneReplicaCannotLoadIsOnNone) {
  BrokenReplicas replicas({Puppet(), Puppet(), Puppet()});
  std::array<std::set<NetworkId>, 3> before;
  for (int i = 0; i < 3; ++i) before[i] = replicas.puppet(i).networks();
  for (int broken = 0; broken < 3; ++broken) {
    replicas.puppet(broken).FailLoad("big", absl::ResourceExhaustedError("no memory"));
    const auto network = replicas.executor().LoadNetwork("big");
    EXPECT_EQ(network.status(), absl::ResourceExhaustedError("no memory"));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(replicas.puppet(i).networks(), before[i]) << i;
    replicas.puppet(broken).FailLoad("big", absl::OkStatus());
  }
  EXPECT_THAT(replicas.violations(), IsEmpty());
  EXPECT_TRUE(replicas.executor().LoadNetwork("big").ok());
}

// --- Warm-up ---

// Its WarmUp does not return before that of every other one has begun.
class MeetingExecutor final : public PuppetExecutor {
 public:
  explicit MeetingExecutor(Options options) : PuppetExecutor(std::move(options)) {}

  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override {
    if (network != *networks().rbegin()) return absl::NotFoundError("of another replica");
    std::unique_lock lock(meeting->mutex);
    ++meeting->present;
    meeting->changed.notify_all();
    const bool all = meeting->changed.wait_for(
        lock, std::chrono::seconds(60), [this] { return meeting->present == meeting->expected; });
    if (!all) return absl::DeadlineExceededError("alone");
    if (!fault.ok()) return fault;
    timings.push_back({max_batch(), budget});
    return timings;
  }

  struct Meeting {
    explicit Meeting(int count) : expected(count) {}
    const int expected;
    int present = 0;
    std::mutex mutex;
    std::condition_variable changed;
  };
  Meeting* meeting = nullptr;
  absl::Status fault;
  std::vector<BucketTiming> timings;
};

TEST(ReplicaExecutorTest, ReplicasWarmUpAtTheSameTimeAndTheSlowestCounts) {
  Replicas<MeetingExecutor> replicas({Puppet(4), Puppet(4), Puppet(4)});
  MeetingExecutor::Meeting meeting(3);
  for (int i = 0; i < 3; ++i) replicas.puppet(i).meeting = &meeting;
  const auto ms = [](int value) { return absl::Milliseconds(value); };
  replicas.puppet(0).timings = {{1, ms(10)}, {2, ms(12)}};
  replicas.puppet(1).timings = {{1, ms(9)}, {2, ms(20)}};
  replicas.puppet(2).timings = {{1, ms(8)}, {2, ms(11)}};
  const auto timings = replicas.executor().WarmUp(replicas.network(), ms(33));
  ASSERT_TRUE(timings.ok()) << timings.status();
  std::vector<std::pair<int, absl::Duration>> pairs;
  for (const BucketTiming& timing : *timings) pairs.emplace_back(timing.rows, timing.duration);
  // 1 and 2 rows are 1 on each replica, 4 are 2, 8 are 3 and need the bucket of 4.
  EXPECT_THAT(pairs, ElementsAre(std::pair(1, ms(10)), std::pair(2, ms(10)), std::pair(4, ms(20)),
                                 std::pair(8, ms(33)), std::pair(12, ms(33))));
}

TEST(ReplicaExecutorTest, AWarmUpThatFailsOnOneReplicaFails) {
  Replicas<MeetingExecutor> replicas({Puppet(), Puppet()});
  MeetingExecutor::Meeting meeting(2);
  for (int i = 0; i < 2; ++i) replicas.puppet(i).meeting = &meeting;
  replicas.puppet(1).fault = absl::InternalError("broken");
  const auto timings = replicas.executor().WarmUp(replicas.network(), absl::Seconds(1));
  EXPECT_EQ(timings.status(), absl::InternalError("broken"));
  EXPECT_EQ(replicas.executor().WarmUp(99, absl::Seconds(1)).status(),
            absl::NotFoundError("network 99 is not loaded"));
}

// --- Threads ---

TEST(ReplicaExecutorTest, DestructionReportsEverythingSubmittedBefore) {
  Options options = Puppet();
  options.automatic = true;
  BrokenReplicas replicas({options, options, options});
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 3; ++seed) slots.push_back(replicas.Allocate(seed));
  std::vector<uint64_t> expected;
  for (int step = 0; step < 4; ++step) {
    for (size_t i = 0; i < 3; ++i) {
      expected.push_back(expected.size());
      replicas.Submit(expected.back(),
                      {replicas.Row(slots[i], step), replicas.Row(slots[(i + 1) % 3], step)});
    }
  }
  replicas.Destroy();
  EXPECT_EQ(replicas.listener().order(), expected);
}

// Notes when it is called by two threads at once.
class WatchfulListener final : public RecordingListener {
 public:
  void OnBatchDone(BatchResult result) override {
    Enter();
    RecordingListener::OnBatchDone(std::move(result));
    inside_ = false;
  }
  void OnReadOut(ReadOutResult result) override {
    Enter();
    RecordingListener::OnReadOut(std::move(result));
    inside_ = false;
  }
  bool overlapped() const { return overlapped_; }

 private:
  void Enter() {
    if (inside_.exchange(true)) overlapped_ = true;
  }

  std::atomic<bool> inside_ = false;
  std::atomic<bool> overlapped_ = false;
};

TEST(ReplicaExecutorTest, SamplesOfManyBatchesComeOutAsTheyWouldAlone) {
  constexpr int kReplicas = 3;
  constexpr int kSamples = 60;
  constexpr int kSteps = 5;
  Options options = Puppet(4, 3);
  options.automatic = true;
  std::vector<std::unique_ptr<Executor>> made;
  std::vector<const PuppetExecutor*> puppets;
  for (int i = 0; i < kReplicas; ++i) {
    auto puppet = std::make_unique<PuppetExecutor>(options);
    puppets.push_back(puppet.get());
    made.push_back(std::move(puppet));
  }
  WatchfulListener listener;
  ReplicaExecutor executor(std::move(made));
  executor.SetListener(&listener);
  const NetworkId network = *executor.LoadNetwork(kPath);

  // Another thread loads and unloads all the while.
  std::atomic<bool> done = false;
  std::thread loader([&] {
    do {
      const NetworkId other = *executor.LoadNetwork("other");
      EXPECT_EQ(executor.GetNetworkInfo(other).num_classes, 10);
      executor.UnloadNetwork(other);
    } while (!done);
  });

  struct Sample {
    uint64_t seed = 0;
    SlotId slot = 0;
    int step = 0;
  };
  const PlanPtr plan = MakePlan(kSteps);
  std::mt19937 random(1);
  std::vector<Sample> running;
  std::vector<uint64_t> expected;      // ids, in order
  std::map<uint64_t, uint64_t> seeds;  // by the id of the read-out
  size_t batches = 0;
  uint64_t started = 0;
  while (started < kSamples || !running.empty()) {
    while (started < kSamples) {
      const auto slot = executor.AllocateSlot({network, started, plan});
      if (!slot.ok()) break;
      running.push_back({started++, *slot});
    }
    ASSERT_FALSE(running.empty());
    std::shuffle(running.begin(), running.end(), random);
    const size_t rows = 1 + random() % running.size();
    StepBatch batch{.id = expected.size(), .network = network, .rows = {}};
    for (size_t i = 0; i < rows; ++i) {
      batch.rows.push_back({running[i].slot, -1, plan, running[i].step++, 0});
    }
    expected.push_back(batch.id);
    executor.Submit(std::move(batch));
    ++batches;
    std::erase_if(running, [&](const Sample& sample) {
      if (sample.step < kSteps) return false;
      seeds[expected.size()] = sample.seed;
      executor.ReadOut(expected.size(), sample.slot, ReadOutKind::kFinal);
      expected.push_back(expected.size());
      executor.FreeSlot(sample.slot);
      return true;
    });
  }
  for (const BatchResult& result : listener.WaitForBatches(batches)) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_THAT(Messages(result), Each("OK"));
  }
  const std::vector<ReadOutResult> read_outs = listener.WaitForReadOuts(kSamples);
  done = true;
  loader.join();
  EXPECT_EQ(listener.order(), expected);
  EXPECT_FALSE(listener.overlapped());
  ASSERT_THAT(read_outs, SizeIs(kSamples));
  for (const ReadOutResult& result : read_outs) {
    const uint64_t seed = seeds.at(result.id);
    EXPECT_EQ(result.image.data, Alone(seed, plan, kSteps).data) << seed;
  }
  for (const PuppetExecutor* puppet : puppets) {
    EXPECT_THAT(puppet->violations(), IsEmpty());
    EXPECT_EQ(puppet->slots_in_use(), 0);
    EXPECT_THAT(puppet->networks(), SizeIs(1));
  }
}

}  // namespace
}  // namespace skipstream
