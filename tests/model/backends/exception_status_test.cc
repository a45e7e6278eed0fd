#include "model/backends/exception_status.h"

#include <new>
#include <stdexcept>
#include <string>

#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "c10/util/Exception.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

template <typename Thrower>
absl::Status StatusOf(Thrower thrower) {
  try {
    thrower();
  } catch (...) {
    return StatusOfCurrentException();
  }
  return absl::OkStatus();
}

TEST(ExceptionStatusTest, RunningOutOfMemoryIsResourceExhausted) {
  EXPECT_EQ(StatusOf([] { throw std::bad_alloc(); }).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(StatusOf([] { at::empty({int64_t{1} << 46}, at::kFloat); }).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ExceptionStatusTest, ErrorsOfLibTorchAreInternalWithoutTheBacktrace) {
  const absl::Status status = StatusOf([] { at::empty({2, 3}, at::kFloat).view({int64_t{7}}); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("invalid for input of size 6"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("frame #")));
}

TEST(ExceptionStatusTest, AnythingElseIsInternal) {
  EXPECT_EQ(StatusOf([] { throw std::runtime_error("broken"); }), absl::InternalError("broken"));
  EXPECT_EQ(StatusOf([] { throw 3; }).code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace skipstream
