#include "server/request/request_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

namespace skipstream {
namespace {

using ::testing::MatchesRegex;
using ::testing::SizeIs;

TEST(RequestIdTest, DrawnIdsAreValidAndNeverTheSame) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.insert(DrawRequestId());
  EXPECT_THAT(ids, SizeIs(100));
  EXPECT_THAT(*ids.begin(), MatchesRegex("[0-9a-f]{32}"));
  EXPECT_TRUE(IsValidRequestId(*ids.begin()));
}

TEST(RequestIdTest, ClientsChooseAmongPrintableAscii) {
  EXPECT_TRUE(IsValidRequestId("order 66/~"));
  EXPECT_TRUE(IsValidRequestId(std::string(128, 'x')));
  for (const std::string& id : {std::string(), std::string(129, 'x'), std::string("a\nb"),
                                std::string("a\0b", 3), std::string("\x7f"), std::string("é")}) {
    EXPECT_FALSE(IsValidRequestId(id)) << id;
  }
}

}  // namespace
}  // namespace skipstream
