#include "base/worker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <vector>

namespace skipstream {
namespace {

using ::testing::ElementsAre;

TEST(WorkerPoolTest, OneThreadRunsTasksInOrder) {
  std::vector<int> order;
  {
    WorkerPool pool(1);
    for (int i = 0; i < 4; ++i) pool.Submit([&order, i] { order.push_back(i); });
  }
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3));
}

TEST(WorkerPoolTest, ThreadsRunAtTheSameTime) {
  std::latch both_run(2);
  WorkerPool pool(2);
  // Neither gets past the latch alone.
  for (int i = 0; i < 2; ++i) pool.Submit([&both_run] { both_run.arrive_and_wait(); });
}

TEST(WorkerPoolTest, WhatIsQueuedRunsBeforeThePoolGoes) {
  std::atomic<int> runs = 0;
  {
    WorkerPool pool(3);
    for (int i = 0; i < 1000; ++i) pool.Submit([&runs] { ++runs; });
  }
  EXPECT_EQ(runs, 1000);
}

}  // namespace
}  // namespace skipstream
