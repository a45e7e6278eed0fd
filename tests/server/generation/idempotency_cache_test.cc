#include "server/generation/idempotency_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error_details.h"
#include "prometheus/gauge.h"
#include "server/generation/generation.h"
#include "tests/testing/fake_clock.h"

namespace skipstream {
namespace {

constexpr size_t kImage = 10'000;  // bytes; everything else about a result is below 1000

IdempotencyKey Key(const std::string& id, const std::string& hash = "hash") {
  return {.tenant = "default", .request_id = id, .request_hash = hash};
}

class IdempotencyCacheTest : public ::testing::Test {
 protected:
  void Make(const IdempotencyCache::Options& options) { table_.emplace(options, clock_, bytes_); }

  static std::shared_ptr<Generation> NewGeneration() {
    return std::make_shared<Generation>(nullptr, nullptr, std::nullopt, "");
  }

  void Finish(const std::string& id, size_t bytes = kImage) {
    const auto generation = NewGeneration();
    ASSERT_TRUE(table_->FindOrAdd(Key(id), generation).ok());
    v1::GenerateEvent event;
    event.mutable_image()->mutable_picture()->set_data(std::string(bytes, 'i'));
    table_->Finish(Key(id), generation.get(),
                   {.facts = {.model = id, .solver = ""},
                    .events = {std::make_shared<const v1::GenerateEvent>(std::move(event))}});
  }

  std::shared_ptr<const FinishedGeneration> Find(const std::string& id) {
    const auto found = table_->FindOrAdd(Key(id), NewGeneration());
    return found.ok() ? found->finished : nullptr;
  }

  FakeClock clock_;
  prometheus::Gauge bytes_;
  std::optional<IdempotencyCache> table_;
};

TEST_F(IdempotencyCacheTest, AnIdBelongsToTheFirstThatAsks) {
  Make({});
  const auto first = NewGeneration();
  const auto second = NewGeneration();
  EXPECT_EQ(table_->FindOrAdd(Key("a"), first)->running, nullptr);
  EXPECT_EQ(table_->FindOrAdd(Key("a"), second)->running, first);
  table_->Forget(Key("a"), second.get());
  EXPECT_EQ(table_->FindOrAdd(Key("a"), second)->running, first)
      << "not the second one's to forget";
  table_->Forget(Key("a"), first.get());
  EXPECT_EQ(table_->FindOrAdd(Key("a"), second)->running, nullptr);
  EXPECT_EQ(table_->FindOrAdd(Key("a"), first)->running, second);
}

TEST_F(IdempotencyCacheTest, OneThatIsGoneIsNotFound) {
  Make({});
  EXPECT_TRUE(table_->FindOrAdd(Key("a"), NewGeneration()).ok());
  EXPECT_EQ(table_->FindOrAdd(Key("a", "other"), NewGeneration())->running, nullptr);
}

TEST_F(IdempotencyCacheTest, OnlySoManyReadTheSameResults) {
  Make({});
  Finish("a");
  Finish("b");
  std::vector<std::shared_ptr<const FinishedGeneration>> readers;
  for (int i = 0; i < kMaxSubscribers; ++i) readers.push_back(Find("a"));
  EXPECT_NE(readers.back(), nullptr);
  const absl::Status refused = table_->FindOrAdd(Key("a"), NewGeneration()).status();
  EXPECT_EQ(GetReason(refused), "TOO_MANY_READERS");
  EXPECT_TRUE(GetRetryAfter(refused).has_value());
  EXPECT_NE(Find("b"), nullptr);
  readers.pop_back();
  EXPECT_NE(Find("a"), nullptr);
}

TEST_F(IdempotencyCacheTest, ResultsLeaveWhenTheirTimeIsUp) {
  Make({.keep = absl::Seconds(10)});
  Finish("a");
  clock_.Advance(absl::Seconds(6));
  Finish("b");
  EXPECT_EQ(Find("a")->facts.model, "a");
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(Find("a"), nullptr);
  EXPECT_EQ(Find("b")->facts.model, "b");
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(Find("b"), nullptr);
  EXPECT_EQ(bytes_.Value(), 0);
}

TEST_F(IdempotencyCacheTest, TheOldestMakeRoomForTheNewest) {
  Make({.max_bytes = 5 * kImage / 2});
  for (const char* id : {"a", "b", "c"}) Finish(id);
  EXPECT_EQ(Find("a"), nullptr);
  EXPECT_NE(Find("b"), nullptr);
  EXPECT_NE(Find("c"), nullptr);
  EXPECT_GE(bytes_.Value(), 2 * kImage);
  EXPECT_LE(bytes_.Value(), 5 * kImage / 2);
}

TEST_F(IdempotencyCacheTest, TheNumberOfResultsIsBounded) {
  Make({.max_results = 2});
  for (const char* id : {"a", "b", "c"}) Finish(id);
  EXPECT_EQ(Find("a"), nullptr);
  EXPECT_NE(Find("c"), nullptr);
}

TEST_F(IdempotencyCacheTest, WhatIsLargerThanTheBoundIsNotKeptAndPushesNothingOut) {
  Make({.max_bytes = 2 * kImage});
  Finish("a");
  Finish("large", 3 * kImage);
  EXPECT_EQ(Find("large"), nullptr);
  EXPECT_NE(Find("a"), nullptr);
}

TEST_F(IdempotencyCacheTest, AResultCountsUntilItsLastReaderHasLetItGo) {
  Make({.max_bytes = 3 * kImage / 2});
  Finish("a");
  std::shared_ptr<const FinishedGeneration> read = Find("a");
  Finish("b");  // pushes a out, which stays where it is
  EXPECT_EQ(Find("b"), nullptr);
  EXPECT_GE(bytes_.Value(), kImage);
  read.reset();
  EXPECT_EQ(bytes_.Value(), 0);
  table_->Forget(Key("b"), nullptr);
  Finish("c");
  EXPECT_NE(Find("c"), nullptr);
}

TEST_F(IdempotencyCacheTest, NothingIsKeptWhenSwitchedOff) {
  for (const IdempotencyCache::Options& options :
       {IdempotencyCache::Options{.max_bytes = 0},
        IdempotencyCache::Options{.keep = absl::ZeroDuration()}}) {
    Make(options);
    Finish("a");
    EXPECT_EQ(Find("a"), nullptr);
  }
}

}  // namespace
}  // namespace skipstream
