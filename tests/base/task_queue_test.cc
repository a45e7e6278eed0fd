#include "base/task_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace skipstream {
namespace {

using ::testing::ElementsAre;

class TaskQueueTest : public ::testing::Test {
 protected:
  void Push(const std::string& tenant, int request, const std::string& task) {
    queue_.Push({.tenant = tenant, .request = &requests_[request]},
                [this, task] { ran_.push_back(task); });
  }
  // Returns the tasks that run until the queue is empty, or the first `tasks` of them.
  std::vector<std::string> Run(int tasks = 1000) {
    ran_.clear();
    while (tasks-- > 0 && !queue_.empty()) queue_.Pop()();
    return ran_;
  }

  TaskQueue queue_;
  int requests_[4] = {};
  std::vector<std::string> ran_;
};

TEST_F(TaskQueueTest, TasksOfARequestKeepTheirOrder) {
  for (const char* task : {"a", "b", "c"}) Push("tenant", 0, task);
  EXPECT_THAT(Run(), ElementsAre("a", "b", "c"));
}

TEST_F(TaskQueueTest, TenantsTakeTurns) {
  for (const char* task : {"a1", "a2", "a3"}) Push("a", 0, task);
  for (const char* task : {"b1", "b2"}) Push("b", 1, task);
  Push("c", 2, "c1");
  EXPECT_THAT(Run(), ElementsAre("a1", "b1", "c1", "a2", "b2", "a3"));
}

TEST_F(TaskQueueTest, RequestsOfATenantTakeTurns) {
  for (const char* task : {"a1", "a2", "a3"}) Push("tenant", 0, task);
  for (const char* task : {"b1", "b2"}) Push("tenant", 1, task);
  EXPECT_THAT(Run(), ElementsAre("a1", "b1", "a2", "b2", "a3"));
}

TEST_F(TaskQueueTest, ATenantWithManyRequestsHasOneTurn) {
  Push("flood", 0, "f0");
  Push("flood", 1, "f1");
  Push("flood", 2, "f2");
  Push("other", 3, "o1");
  Push("other", 3, "o2");
  EXPECT_THAT(Run(), ElementsAre("f0", "o1", "f1", "o2", "f2"));
}

TEST_F(TaskQueueTest, WhoeverComesLateWaitsForOneTaskOfTheOthers) {
  for (const char* task : {"f1", "f2", "f3", "f4"}) Push("flood", 0, task);
  EXPECT_THAT(Run(2), ElementsAre("f1", "f2"));
  Push("other", 1, "late");
  EXPECT_THAT(Run(), ElementsAre("f3", "late", "f4"));
}

TEST_F(TaskQueueTest, WhatIsRemovedTakesNoTurn) {
  Push("a", 0, "a1");
  Push("a", 1, "b1");
  Push("a", 1, "b2");
  Push("other", 2, "o1");
  EXPECT_EQ(queue_.Remove({.tenant = "a", .request = &requests_[1]}).size(), 2u);
  EXPECT_EQ(queue_.Remove({.tenant = "a", .request = &requests_[1]}).size(), 0u);
  EXPECT_EQ(queue_.Remove({.tenant = "nobody", .request = nullptr}).size(), 0u);
  EXPECT_THAT(Run(), ElementsAre("a1", "o1"));
  Push("a", 0, "a2");
  EXPECT_EQ(queue_.Remove({.tenant = "a", .request = &requests_[0]}).size(), 1u);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(TaskQueueTest, WithoutAnOwnerItIsFirstInFirstOut) {
  for (int i = 0; i < 3; ++i) {
    queue_.Push({}, [this, i] { ran_.push_back(std::to_string(i)); });
  }
  EXPECT_THAT(Run(), ElementsAre("0", "1", "2"));
}

}  // namespace
}  // namespace skipstream
