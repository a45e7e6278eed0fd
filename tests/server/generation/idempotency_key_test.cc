#include "server/generation/idempotency_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/test_models.h"

namespace skipstream {
namespace {

std::string HashOf(const std::string& request) {
  return MakeIdempotencyKey("default", Request(request)).request_hash;
}

TEST(IdempotencyKeyTest, NamesTenantAndId) {
  const IdempotencyKey key = MakeIdempotencyKey("painters", Request("request_id: 'a' count: 2"));
  EXPECT_EQ(key.tenant, "painters");
  EXPECT_EQ(key.request_id, "a");
  EXPECT_THAT(key.request_hash, ::testing::SizeIs(32));
}

TEST(IdempotencyKeyTest, TheSameRequestHasTheSameHash) {
  EXPECT_EQ(HashOf("seeds: [1, 2] sampler { nfe: 9 }"), HashOf("sampler { nfe: 9 } seeds: [1, 2]"));
}

TEST(IdempotencyKeyTest, EveryFieldCounts) {
  const std::string hash = HashOf("seeds: [1, 2]");
  EXPECT_NE(HashOf("seeds: [2, 1]"), hash);
  EXPECT_NE(HashOf("seeds: [1, 2] priority: PRIORITY_LOW"), hash);
  EXPECT_NE(HashOf("seeds: [1, 2] output { scale: 1 }"), hash) << "a default, but said";
}

TEST(IdempotencyKeyTest, ALargeImageCountsToItsLastByte) {
  v1::GenerateRequest request;
  request.mutable_input_image()->set_picture(std::string(3 << 20, 'x'));
  const std::string hash = MakeIdempotencyKey("default", request).request_hash;
  EXPECT_EQ(MakeIdempotencyKey("default", request).request_hash, hash);
  request.mutable_input_image()->mutable_picture()->back() = 'y';
  EXPECT_NE(MakeIdempotencyKey("default", request).request_hash, hash);
}

}  // namespace
}  // namespace skipstream
