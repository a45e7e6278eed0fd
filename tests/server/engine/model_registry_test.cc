#include "server/engine/model_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "prometheus/registry.h"
#include "server/metrics/metrics.h"
#include "tests/server/engine/engine_harness.h"
#include "tests/testing/broken_executor.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelRegistryTest : public ::testing::Test {
 protected:
  std::shared_ptr<const LoadedModel> Load(const std::string& name) {
    return *LoadedModel::Load(executor_, name, name + ".safetensors");
  }

  BrokenExecutor executor_;
  prometheus::Registry prometheus_;
  ModelMetrics metrics_{prometheus_};
  ModelRegistry registry_{&metrics_};
};

TEST_F(ModelRegistryTest, FirstModelIsTheDefault) {
  ASSERT_TRUE(registry_.Add(Load("zebra")).ok());
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  EXPECT_EQ(registry_.default_name(), "zebra");
  EXPECT_EQ((*registry_.Find(""))->name(), "zebra");
  EXPECT_EQ((*registry_.Find("ant"))->name(), "ant");
}

TEST_F(ModelRegistryTest, ListsTheDefaultFirstThenByName) {
  for (const char* name : {"m", "z", "a"}) ASSERT_TRUE(registry_.Add(Load(name)).ok());
  std::vector<std::string> names;
  for (const auto& model : registry_.List()) names.push_back(model->name());
  EXPECT_THAT(names, ElementsAre("m", "a", "z"));
}

TEST_F(ModelRegistryTest, UnknownNameIsNotFoundAndTheMessageListsWhatThereIs) {
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  ASSERT_TRUE(registry_.Add(Load("bee")).ok());
  const absl::Status status = registry_.Find("cow").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(status.message(), HasSubstr("'cow'; there are: ant, bee"));
  EXPECT_TRUE(absl::IsNotFound(registry_.Remove("cow")));
}

TEST_F(ModelRegistryTest, NameCanBeTakenOnlyOnce) {
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(registry_.Add(Load("ant"))));
  EXPECT_EQ(executor_.networks().size(), 1u);  // the refused one is unloaded
}

TEST_F(ModelRegistryTest, DefaultModelCannotBeRemoved) {
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  EXPECT_EQ(registry_.Remove("ant").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(registry_.Find("ant").ok());
}

TEST_F(ModelRegistryTest, ReplacingGivesTheNameAndTheDefaultsPlaceToTheNewModel) {
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  ASSERT_TRUE(registry_.Add(Load("bee")).ok());
  const auto ant = *LoadedModel::Load(executor_, "ant", "ant-2.safetensors");
  EXPECT_EQ(registry_.Replace(ant)->info().sha256, Load("ant")->info().sha256);
  EXPECT_EQ(*registry_.Find("ant"), ant);
  EXPECT_EQ(*registry_.Find(""), ant);
  EXPECT_EQ(registry_.default_name(), "ant");
  EXPECT_EQ(registry_.List().size(), 2u);
  EXPECT_EQ(metrics_.model_loaded.With({"ant"}).Value(), 1);
  EXPECT_EQ(executor_.networks().size(), 2u);  // the old weights are gone
}

TEST_F(ModelRegistryTest, ReplacingWhatIsNotThereAddsIt) {
  EXPECT_EQ(registry_.Replace(Load("ant")), nullptr);
  EXPECT_EQ(registry_.default_name(), "ant");
  EXPECT_EQ(registry_.Replace(Load("bee")), nullptr);
  EXPECT_EQ(registry_.default_name(), "ant");
  EXPECT_EQ(metrics_.model_loaded.With({"bee"}).Value(), 1);
}

TEST_F(ModelRegistryTest, WhoeverAsksWhileAModelIsReplacedFindsOneOrTheOther) {
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  std::atomic<bool> done = false;
  int missing = 0;
  std::thread reader([&] {
    while (!done) {
      for (const char* name : {"ant", ""}) missing += !registry_.Find(name).ok();
      missing += registry_.List().size() != 1;
    }
  });
  for (int i = 0; i < 2000; ++i) EXPECT_NE(registry_.Replace(Load("ant")), nullptr);
  done = true;
  reader.join();
  EXPECT_EQ(missing, 0);
  EXPECT_EQ(executor_.networks().size(), 1u);
}

TEST_F(ModelRegistryTest, LoadErrorIsPassedOn) {
  executor_.FailLoad("bad.safetensors", absl::InvalidArgumentError("tensor x is missing"));
  EXPECT_EQ(LoadedModel::Load(executor_, "bad", "bad.safetensors").status().message(),
            "tensor x is missing");
}

TEST_F(ModelRegistryTest, MetricShowsWhatIsOffered) {
  ASSERT_TRUE(registry_.Add(Load("ant")).ok());
  ASSERT_TRUE(registry_.Add(Load("bee")).ok());
  EXPECT_EQ(metrics_.model_loaded.With({"bee"}).Value(), 1);
  ASSERT_TRUE(registry_.Remove("bee").ok());
  EXPECT_EQ(metrics_.model_loaded.With({"bee"}).Value(), 0);
  EXPECT_EQ(metrics_.model_loaded.With({"ant"}).Value(), 1);
}

TEST(ModelRegistryWithEngineTest, RemovedModelStaysLoadedUntilItsLastJobHasEnded) {
  EngineHarness harness;
  ModelRegistry registry;
  ASSERT_TRUE(registry.Add(harness.model).ok());
  ASSERT_TRUE(registry.Add(*LoadedModel::Load(harness.executor, "guest", "guest")).ok());
  const NetworkId network = (*registry.Find("guest"))->network();
  const auto one = harness.Add(MakePlan(3), {1}, {.model = *registry.Find("guest")});
  const auto two = harness.Add(MakePlan(6), {2}, {.model = *registry.Find("guest")});
  harness.Tick();

  ASSERT_TRUE(registry.Remove("guest").ok());
  EXPECT_TRUE(absl::IsNotFound(registry.Find("guest").status()));
  while (!one.finished()) ASSERT_TRUE(harness.Tick());
  EXPECT_EQ(harness.executor.networks().count(network), 1u);
  harness.RunUntilIdle();
  EXPECT_EQ(two.finished(), absl::OkStatus());
  EXPECT_EQ(harness.executor.networks().count(network), 0u);
  EXPECT_THAT(harness.executor.violations(), ElementsAre());
}

TEST(ModelRegistryWithEngineTest, JobsFinishOnTheWeightsThatWereReplacedUnderThem) {
  EngineHarness harness;
  ModelRegistry registry;
  const auto load = [&](const char* path) {
    return *LoadedModel::Load(harness.executor, "guest", path);
  };
  ASSERT_TRUE(registry.Add(load("old")).ok());
  const NetworkId old_network = (*registry.Find("guest"))->network();
  const auto before = harness.Add(MakePlan(4), {1}, {.model = *registry.Find("guest")});
  harness.Tick();

  registry.Replace(load("new"));
  const NetworkId new_network = (*registry.Find("guest"))->network();
  EXPECT_NE(new_network, old_network);
  const auto after = harness.Add(MakePlan(8), {1}, {.model = *registry.Find("guest")});
  while (!before.finished()) ASSERT_TRUE(harness.Tick());
  EXPECT_EQ(before.finished(), absl::OkStatus());
  EXPECT_EQ(harness.executor.networks().count(old_network), 0u);
  harness.RunUntilIdle();
  EXPECT_EQ(after.finished(), absl::OkStatus());
  EXPECT_EQ(harness.executor.networks().count(new_network), 1u);
  EXPECT_THAT(harness.executor.violations(), ElementsAre());
}

TEST(ModelRegistryWithEngineTest, ANameUnloadedAndLoadedAgainIsAnotherNetworkToTheEngine) {
  EngineHarness harness;
  ModelRegistry registry;
  ASSERT_TRUE(registry.Add(harness.model).ok());
  std::set<NetworkId> seen;
  std::vector<EngineHarness::Handle> jobs;
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(registry.Add(*LoadedModel::Load(harness.executor, "guest", "guest")).ok());
    EXPECT_TRUE(seen.insert((*registry.Find("guest"))->network()).second);
    jobs.push_back(harness.Add(MakePlan(6), {7}, {.model = *registry.Find("guest")}));
    harness.Tick();  // its batch is in flight when the name goes
    ASSERT_TRUE(registry.Remove("guest").ok());
  }
  harness.RunUntilIdle();
  for (const auto& job : jobs) EXPECT_EQ(job.finished(), absl::OkStatus());
  EXPECT_EQ(harness.executor.networks().size(), 1u);
  EXPECT_THAT(harness.executor.violations(), ElementsAre());
}

}  // namespace
}  // namespace skipstream
