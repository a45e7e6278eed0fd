#include "server/rpc/wire_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

grpc::ByteBuffer Buffer(const std::string& bytes) {
  // In pieces, as they come from the network.
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += 1000) slices.emplace_back(bytes.substr(i, 1000));
  return {slices.data(), slices.size()};
}

absl::Status Parse(const std::string& bytes, v1::GenerateRequest& request) {
  return ParseBounded(Buffer(bytes), size_t{5} << 20, request);
}
absl::Status Parse(const std::string& bytes) {
  v1::GenerateRequest request;
  return Parse(bytes, request);
}

std::string Repeated(const std::string& bytes, int times) {
  std::string result;
  while (times-- > 0) result += bytes;
  return result;
}

// Field `number` of a message, length-delimited.
std::string Field(int number, const std::string& bytes) {
  std::string result(1, static_cast<char>(number << 3 | 2));
  for (size_t size = bytes.size();; size >>= 7) {
    if (size < 0x80) {
      result += static_cast<char>(size);
      return result + bytes;
    }
    result += static_cast<char>((size & 0x7f) | 0x80);
  }
}

// Numbers in GenerateRequest (image_generation.proto).
constexpr int kSeeds = v1::GenerateRequest::kSeedsFieldNumber;
constexpr int kClasses = v1::GenerateRequest::kClassesFieldNumber;
constexpr int kUnknown = 15;

TEST(WireLimitsTest, NoMessageIsNotAMessageWithoutFields) {
  v1::GenerateRequest request;
  const absl::Status none = ParseBounded(grpc::ByteBuffer(), 1000, request);
  EXPECT_EQ(none.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(none.message(), HasSubstr("no skipstream.v1.GenerateRequest"));
  EXPECT_TRUE(Parse("").ok());
}

TEST(WireLimitsTest, TheLongestRequestAnybodyMaySendIsRead) {
  v1::GenerateRequest request;
  request.set_model(std::string(256, 'm'));
  for (int i = 0; i < 1024; ++i) {
    request.add_seeds(0xffffffffu);
    request.add_classes()->set_name("apple");
  }
  for (int i = 0; i < 2049; ++i) {
    request.mutable_sampler()->add_conditioning_sigmas(80);
    request.mutable_sampler()->mutable_explicit_levels()->add_sigmas(80);
  }
  request.mutable_input_image()->set_picture(std::string(4 << 20, '\0'));
  v1::GenerateRequest parsed;
  ASSERT_TRUE(Parse(request.SerializeAsString(), parsed).ok());
  EXPECT_EQ(parsed.SerializeAsString(), request.SerializeAsString());
}

struct Flood {
  const char* what;
  std::string bytes;
};

class FloodTest : public ::testing::TestWithParam<Flood> {};

TEST_P(FloodTest, IsRefusedBeforeItIsParsed) {
  v1::GenerateRequest request;
  const absl::Status status = Parse(GetParam().bytes, request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetReason(status), "TOO_MANY_VALUES");
  EXPECT_THAT(std::string(status.message()), HasSubstr("16384"));
  EXPECT_EQ(request.SpaceUsedLong(), v1::GenerateRequest().SpaceUsedLong());
}

INSTANTIATE_TEST_SUITE_P(
    , FloodTest,
    ::testing::Values(
        Flood{"EmptyMessages", Repeated(Field(kClasses, ""), kMaxRequestValues + 1)},
        Flood{"PackedNumbers", Field(kSeeds, std::string(kMaxRequestValues + 1, '\1'))},
        Flood{"UnpackedNumbers", Repeated(std::string(1, static_cast<char>(kSeeds << 3)) + "\1",
                                          kMaxRequestValues + 1)},
        Flood{"UnknownFields", Repeated(Field(kUnknown, ""), kMaxRequestValues + 1)},
        Flood{"UnknownFieldsInside",
              Field(kClasses, Repeated(Field(kUnknown, ""), kMaxRequestValues + 1))},
        Flood{"AlternatingSetters",
              Repeated(Field(kClasses, std::string("\x08\1", 2)), kMaxRequestValues / 2 + 1)}),
    [](const auto& info) { return info.param.what; });

TEST(WireLimitsTest, AsManyValuesAsAllowedAreRead) {
  v1::GenerateRequest request;
  ASSERT_TRUE(Parse(Repeated(Field(kClasses, ""), kMaxRequestValues), request).ok());
  EXPECT_EQ(request.classes_size(), kMaxRequestValues);
}

TEST(WireLimitsTest, WhatIsNotWellFormedIsRefused) {
  for (const std::string& bytes :
       {std::string("\xff"),
        std::string("\x0a\x05"
                    "ab"),
        Field(kSeeds, "\x80"), std::string("\0", 1), std::string("\x0b\x0c"), Field(1, "\xff\xfe"),
        Field(kClasses, "\x0a\x7f"), std::string("\x0a\xff\xff\xff\xff\x0f")}) {
    const absl::Status status = Parse(bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    EXPECT_EQ(GetReason(status), "");
    EXPECT_THAT(std::string(status.message()), HasSubstr("skipstream.v1.GenerateRequest"));
  }
}

TEST(WireLimitsTest, ALargerMessageThanAllowedIsRefused) {
  v1::GenerateRequest request;
  const absl::Status status = ParseBounded(Buffer(Field(1, std::string(100, 'm'))), 100, request);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(request.model().empty());
}

TEST(WireLimitsTest, WhatIsSerializedIsReadAgain) {
  v1::GenerateRequest request;
  request.set_model(std::string(3 << 20, 'm'));
  v1::GenerateRequest parsed;
  ASSERT_TRUE(ParseBounded(Serialized(request), size_t{5} << 20, parsed).ok());
  EXPECT_EQ(parsed.model(), request.model());
}

}  // namespace
}  // namespace skipstream
