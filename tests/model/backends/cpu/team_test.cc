#include "model/backends/cpu/team.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace skipstream::cpu {
namespace {

// Runs work(team) on this number of threads.
template <typename Work>
void Together(int members, Barrier& barrier, const Work& work) {
  barrier.Reset(members);
  std::vector<std::thread> threads;
  for (int i = 0; i < members; ++i) {
    threads.emplace_back([&, i] { work(Team(i, members, barrier)); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TeamTest, WhatOneMemberWroteBeforeAWaitTheOthersReadAfterIt) {
  Barrier barrier;
  for (const int members : {1, 2, 3, 16}) {  // more than there are cores, too
    constexpr int kUnits = 37;
    constexpr int kRounds = 300;
    std::vector<int64_t> values(kUnits, 1);
    std::vector<int64_t> next(kUnits);
    Together(members, barrier, [&](const Team& team) {
      for (int round = 0; round < kRounds; ++round) {
        team.Share(kUnits, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            next[i] = (values[i] + values[(i + kUnits / 2) % kUnits] + i) % 1000;
          }
        });
        team.Wait();
        if (team.leads()) std::swap(values, next);
        team.Wait();
      }
    });
    std::vector<int64_t> expected(kUnits, 1);
    for (int round = 0; round < kRounds; ++round) {
      std::vector<int64_t> old = expected;
      for (int64_t i = 0; i < kUnits; ++i) {
        expected[i] = (old[i] + old[(i + kUnits / 2) % kUnits] + i) % 1000;
      }
    }
    EXPECT_EQ(values, expected) << members << " members";
  }
}

TEST(TeamTest, SharesCoverEveryUnitOnce) {
  for (const int members : {1, 2, 5, 8}) {
    for (const int64_t units : {0, 1, 4, 7, 64}) {
      Barrier barrier;
      std::vector<int> seen(units);
      for (int member = 0; member < members; ++member) {
        Team(member, members, barrier).Share(units, [&](int64_t begin, int64_t end) {
          EXPECT_LT(begin, end);
          for (int64_t i = begin; i < end; ++i) ++seen[i];
        });
      }
      EXPECT_EQ(seen, std::vector<int>(units, 1)) << members << " members";
    }
  }
}

TEST(TeamTest, OneAloneDoesEverythingAndWaitsForNobody) {
  const Team team;
  EXPECT_TRUE(team.leads());
  int64_t done = 0;
  team.Share(5, [&](int64_t begin, int64_t end) { done = end - begin; });
  team.Wait();
  EXPECT_EQ(done, 5);
}

}  // namespace
}  // namespace skipstream::cpu
