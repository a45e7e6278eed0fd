#include "model/execution/operation_stream.h"

#include <future>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;

TEST(OperationStreamTest, RunsOperationsInTheOrderTheyWerePosted) {
  OperationStream stream;
  std::vector<int> order;
  stream.Post([&] { order.push_back(1); });
  stream.Post([&] { order.push_back(2); });
  stream.Run([&] { order.push_back(3); });
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(OperationStreamTest, PostDoesNotWait) {
  OperationStream stream;
  std::promise<void> gate;
  stream.Post([&] { gate.get_future().wait(); });
  bool ran = false;
  stream.Post([&] { ran = true; });
  EXPECT_FALSE(ran);
  gate.set_value();
  stream.Run([] {});
  EXPECT_TRUE(ran);
}

TEST(OperationStreamTest, DestructionRunsWhatWasPosted) {
  int ran = 0;
  {
    OperationStream stream;
    for (int i = 0; i < 100; ++i) stream.Post([&] { ++ran; });
  }
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace skipstream
