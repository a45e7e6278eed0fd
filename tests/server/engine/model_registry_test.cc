#include "server/engine/model_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace skipstream
