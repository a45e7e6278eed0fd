#include "model/execution/device_list.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(DeviceListTest, NamesMeanDevices) {
  EXPECT_THAT(*ParseDevices("cpu", 4), IsEmpty());
  EXPECT_THAT(*ParseDevices("auto", 0), IsEmpty());
  EXPECT_THAT(*ParseDevices("auto", 2), ElementsAre(0, 1));
  EXPECT_THAT(*ParseDevices("cuda", 3), ElementsAre(0, 1, 2));
  EXPECT_THAT(*ParseDevices("cuda:2,cuda:0", 3), ElementsAre(2, 0));
}

TEST(DeviceListTest, DevicesThatAreNotThereAreNotFound) {
  EXPECT_EQ(ParseDevices("cuda", 0).status().code(), absl::StatusCode::kNotFound);
  const absl::Status status = ParseDevices("cuda:0,cuda:2", 2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cuda:2; the number of GPUs is 2"));
}

TEST(DeviceListTest, AnythingElseIsRefusedSayingWhatWouldDo) {
  for (const char* devices : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0,", "cuda:0,cpu",
                              "CUDA", "cuda:99999999999", "cuda:7,cuda:x"}) {
    const absl::Status status = ParseDevices(devices, 4).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << devices;
    EXPECT_THAT(std::string(status.message()), HasSubstr("cuda:0,cuda:1")) << devices;
  }
  EXPECT_THAT(std::string(ParseDevices("cuda:1,cuda:1", 4).status().message()),
              HasSubstr("cuda:1 twice"));
}

}  // namespace
}  // namespace skipstream
