#include "server/engine/engine_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "server/engine/admission.h"
#include "tests/server/engine/engine_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kForever = absl::Minutes(4);

class EngineThreadTest : public ::testing::Test {
 protected:
  explicit EngineThreadTest(PuppetExecutor::Options options = {.automatic = true})
      : executor_(std::move(options)),
        model_(*LoadedModel::Load(executor_, "puppet", "puppet.safetensors")) {}

  GenerationJob Job(std::shared_ptr<const SamplingPlan> plan, const std::vector<uint64_t>& seeds,
                    std::shared_ptr<OutputSink> sink, JobOptions options = {}) {
    return {.model = model_,
            .plan = std::move(plan),
            .samples = Samples(seeds),
            .priority = options.priority,
            .preview_every = options.preview_every,
            .deadline = options.deadline,
            .ticket = std::move(options.ticket),
            .sink = std::move(sink)};
  }

  RealClock clock_;
  BrokenExecutor executor_;
  std::shared_ptr<const LoadedModel> model_;
};

class ManualEngineThreadTest : public EngineThreadTest {
 protected:
  ManualEngineThreadTest() : EngineThreadTest({.max_in_flight = 2, .automatic = false}) {}
};

TEST_F(EngineThreadTest, DeliversWhatTheEngineMakes) {
  EngineThread engine({}, executor_, clock_, nullptr);
  const auto sink = std::make_shared<RecordingSink>();
  engine.Submit(Job(MakePlan(2), {7}, sink));
  EXPECT_EQ(sink->WaitFinished(), absl::OkStatus());
  EXPECT_THAT(sink->state().events, ElementsAre("accepted", "progress 0 1/2", "progress 0 2/2",
                                                "image 0", "finished OK"));
  EXPECT_EQ(sink->state().images.at(0).data, ImageMadeAlone(MakePlan(2), 7));
  EXPECT_TRUE(engine.WaitIdle(kForever));
}

TEST_F(ManualEngineThreadTest, IsIdleOnlyWhenEveryJobHasEnded) {
  EngineThread engine({}, executor_, clock_, nullptr);
  EXPECT_TRUE(engine.WaitIdle(absl::ZeroDuration()));
  const auto sink = std::make_shared<RecordingSink>();
  engine.Submit(Job(MakePlan(3), {1}, sink));
  EXPECT_FALSE(engine.WaitIdle(absl::ZeroDuration()));
  executor_.SetAutomatic();
  EXPECT_TRUE(engine.WaitIdle(kForever));
  EXPECT_TRUE(sink->finished());
}

TEST_F(ManualEngineThreadTest, ADeadlineCanBeExtendedWhileTheJobRuns) {
  EngineThread engine({}, executor_, clock_, nullptr);
  const auto sink = std::make_shared<RecordingSink>();
  const JobId id = engine.Submit(
      Job(MakePlan(3), {1}, sink, {.deadline = clock_.Now() + absl::Milliseconds(200)}));
  engine.ExtendDeadline(id, absl::InfiniteFuture());
  // A job beside it whose deadline passes later than the first one would have.
  const auto later = std::make_shared<RecordingSink>();
  engine.Submit(Job(MakePlan(3), {2}, later, {.deadline = clock_.Now() + absl::Milliseconds(250)}));
  EXPECT_EQ(later->WaitFinished().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(sink->finished());
  executor_.SetAutomatic();
  EXPECT_EQ(sink->WaitFinished(), absl::OkStatus());
}

TEST_F(ManualEngineThreadTest, CancelledRowsAreInNoBatchAfterTheSinkHeardOfIt) {
  EngineThread engine({}, executor_, clock_, nullptr);
  const auto sink = std::make_shared<RecordingSink>();
  const JobId id = engine.Submit(Job(MakePlan(50), {1}, sink));
  executor_.WaitForBatches(2);
  engine.Cancel(id);
  EXPECT_TRUE(absl::IsCancelled(sink->WaitFinished()));
  executor_.SetAutomatic();
  EXPECT_TRUE(engine.WaitIdle(kForever));
  EXPECT_EQ(executor_.batches().size(), 2u);
  EXPECT_EQ(executor_.slots_in_use(), 0);
}

TEST_F(ManualEngineThreadTest, DeadlinePassesAlthoughNothingElseHappens) {
  EngineThread engine({}, executor_, clock_, nullptr);
  const auto sink = std::make_shared<RecordingSink>();
  engine.Submit(Job(MakePlan(50), {1}, sink, {.deadline = clock_.Now() + absl::Milliseconds(5)}));
  EXPECT_TRUE(absl::IsDeadlineExceeded(sink->WaitFinished()));
  executor_.SetAutomatic();
}

TEST_F(ManualEngineThreadTest, DestructorCancelsWhatIsLeftAndWaitsForTheExecutor) {
  Admission admission(Admission::Options{});
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  std::atomic<bool> reporting = false;
  std::thread device;
  {
    EngineThread engine({}, executor_, clock_, nullptr);
    for (uint64_t seed = 0; seed < 100; ++seed) {
      sinks.push_back(std::make_shared<RecordingSink>());
      engine.Submit(Job(MakePlan(50), {seed}, sinks.back(),
                        {.preview_every = 1, .ticket = *admission.Admit(Wants(50))}));
    }
    executor_.WaitForBatches(2);
    // Two batches and their previews are in flight until all reports have come.
    device = std::thread([&] {
      for (const auto& sink : sinks) EXPECT_TRUE(absl::IsCancelled(sink->WaitFinished()));
      reporting = true;
      executor_.CompleteAll();
    });
  }
  EXPECT_TRUE(reporting);
  device.join();
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->finished());
    EXPECT_TRUE(absl::IsCancelled(*sink->state().finished));
    EXPECT_THAT(sink->state().violations, IsEmpty());
  }
  EXPECT_EQ(executor_.slots_in_use(), 0);
  EXPECT_EQ(admission.outstanding_requests(), 0);
}

// Calls back into the engine's thread-safe methods from a sink.
class ChainingSink final : public OutputSink {
 public:
  explicit ChainingSink(std::function<void()> on_finished) : on_finished_(std::move(on_finished)) {}
  void OnAccepted(const AcceptedInfo&) override {}
  void OnProgress(int, int, int) override {}
  void OnPreview(int, int, Image) override {}
  void OnImage(int, Image, const SampleTimings&) override {}
  void OnSampleFailed(int, const absl::Status&) override {}
  void OnFinished(const absl::Status&) override { on_finished_(); }

 private:
  const std::function<void()> on_finished_;
};

TEST_F(EngineThreadTest, SinkMaySubmitAndCancel) {
  EngineThread engine({}, executor_, clock_, nullptr);
  const auto next = std::make_shared<RecordingSink>();
  engine.Submit(Job(MakePlan(1), {1}, std::make_shared<ChainingSink>([&] {
                      engine.Cancel(engine.Submit(Job(MakePlan(9), {2}, next)));
                    })));
  EXPECT_TRUE(absl::IsCancelled(next->WaitFinished()));
}

TEST_F(EngineThreadTest, SinkFindsRoomAtTheDoorWhenItHearsOfTheEnd) {
  Admission admission({.max_requests = 1});
  EngineThread engine({}, executor_, clock_, nullptr);
  std::atomic<bool> admitted = false;
  engine.Submit(Job(MakePlan(1), {1}, std::make_shared<ChainingSink>([&] {
                      admitted = admission.Admit(Wants(1)).ok();
                    }),
                    {.ticket = *admission.Admit(Wants(1))}));
  EXPECT_TRUE(engine.WaitIdle(kForever));
  EXPECT_TRUE(admitted);
}

TEST_F(EngineThreadTest, HealthIsVisibleFromOutside) {
  EngineThread engine({.failures_until_unhealthy = 1}, executor_, clock_, nullptr);
  std::mutex mutex;
  std::vector<bool> changes;
  engine.SetHealthCallback([&](bool healthy) {
    std::lock_guard lock(mutex);
    changes.push_back(healthy);
  });
  EXPECT_TRUE(engine.healthy());
  executor_.FailNextBatches(1, absl::UnavailableError("device lost"));
  engine.Submit(Job(MakePlan(1), {1}, std::make_shared<RecordingSink>()));
  EXPECT_TRUE(engine.WaitIdle(kForever));
  EXPECT_FALSE(engine.healthy());
  engine.Submit(Job(MakePlan(1), {2}, std::make_shared<RecordingSink>()));
  EXPECT_TRUE(engine.WaitIdle(kForever));
  EXPECT_TRUE(engine.healthy());
  std::lock_guard lock(mutex);
  EXPECT_THAT(changes, ElementsAre(false, true));
}

TEST_F(EngineThreadTest, EightThreadsSubmitAndCancelAtOnce) {
  constexpr int kThreads = 8;
  constexpr int kJobsPerThread = 40;
  prometheus::Registry registry;
  EngineMetrics metrics(registry);
  Admission admission({.max_requests = 200, .max_evaluations = 5000});
  struct Done {
    std::shared_ptr<RecordingSink> sink;
    std::shared_ptr<const SamplingPlan> plan;
    std::vector<uint64_t> seeds;
    JobId id = 0;
  };
  std::vector<std::vector<Done>> jobs(kThreads);
  {
    EngineThread engine({}, executor_, clock_, &metrics);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < kJobsPerThread; ++i) {
          Done job{std::make_shared<RecordingSink>(), MakePlan(1 + random() % 20, 1 + random() % 2),
                   std::vector<uint64_t>(1 + random() % 3), 0};
          for (uint64_t& seed : job.seeds) seed = random();
          auto ticket =
              admission.Admit(Wants(job.plan->rows() * static_cast<int>(job.seeds.size())));
          if (!ticket.ok()) continue;
          job.id = engine.Submit(
              Job(job.plan, job.seeds, job.sink,
                  {.preview_every = static_cast<int>(random() % 3), .ticket = *std::move(ticket)}));
          if (random() % 2 == 0) engine.Cancel(job.id);
          jobs[t].push_back(std::move(job));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(engine.WaitIdle(kForever));
  }
  int finished = 0;
  std::set<JobId> ids;
  for (const std::vector<Done>& of_thread : jobs) {
    for (const Done& job : of_thread) {
      EXPECT_TRUE(ids.insert(job.id).second) << "ids are unique";
      const RecordingSink::State state = job.sink->state();
      ASSERT_TRUE(state.finished.has_value());
      EXPECT_THAT(state.violations, IsEmpty());
      finished += state.finished->ok();
      if (state.finished->ok()) {
        EXPECT_EQ(state.images.size(), job.seeds.size());
      }
      for (const auto& [sample, pixels] : state.images) {
        EXPECT_EQ(pixels.data, ImageMadeAlone(job.plan, job.seeds[sample]));
      }
    }
  }
  EXPECT_GT(finished, 50);
  EXPECT_EQ(executor_.slots_in_use(), 0);
  EXPECT_THAT(executor_.violations(), IsEmpty());
  EXPECT_EQ(admission.outstanding_requests(), 0);
  EXPECT_EQ(admission.outstanding_evaluations(), 0);
}

}  // namespace
}  // namespace skipstream
