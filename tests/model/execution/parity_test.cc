// The fixtures of tests/data/reference through the same code as tools/parity.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/editable_model.h"
#include "tools/parity_fixture.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class ParityTest : public testing::TestWithParam<const char*> {};

TEST_P(ParityTest, AgreesWithTheReference) {
  for (const Kernels kernels : {Kernels::kAuto, Kernels::kReference}) {
    const auto errors = MeasureParity(GetParam(), kernels);
    ASSERT_TRUE(errors.ok()) << errors.status();
    EXPECT_THAT(*errors, SizeIs(4));
    for (const ParityError& error : *errors) {
      EXPECT_LE(error.error, kParityTolerance) << error.tensor << ", " << Name(kernels);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ParityTest,
                         testing::Values(kDdpmppEdmFixture, kDdpmppVpFixture, kNcsnppVeFixture,
                                         kAdmEdmFixture, kSongVeSkipFixture,
                                         kSongEdmResidualFixture, kAdmIddpmFixture, kAdmCmFixture));

// A fixture with the last element of one tensor changed by a factor.
std::string SpoiltFixture(const std::string& name) {
  std::string file = ReadFile(kDdpmppVpFixture);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
  const size_t end = 8 + length + header[name]["data_offsets"][1].get<size_t>();
  file[end - 2] ^= 0x40;  // beside the sign and the top of the exponent
  return WriteTemporaryFile(file);
}

TEST(ParityToolTest, ADifferentExpectationIsFoundAndNamed) {
  const std::string path = SpoiltFixture("io.heun6_skip_tuned");
  const auto errors = MeasureParity(path);
  ASSERT_TRUE(errors.ok()) << errors.status();
  for (const ParityError& error : *errors) {
    EXPECT_EQ(error.error > kParityTolerance, error.tensor == "heun6_skip_tuned") << error.tensor;
  }
  unlink(path.c_str());
}

TEST(ParityToolTest, ADifferentWeightIsFoundEverywhere) {
  const std::string path = SpoiltFixture("param.model.enc.16x16_conv.weight");
  const auto errors = MeasureParity(path);
  ASSERT_TRUE(errors.ok()) << errors.status();
  for (const ParityError& error : *errors) {
    EXPECT_GT(error.error, kParityTolerance) << error.tensor;
  }
  unlink(path.c_str());
}

TEST(ParityToolTest, FilesThatAreNotFixturesAreRefusedSayingWhy) {
  EXPECT_EQ(MeasureParity("nowhere.safetensors").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(MeasureParity("CMakeLists.txt").status().message()),
              HasSubstr("header length"));
  EXPECT_THAT(std::string(MeasureParity("model/zoo/nouns32.safetensors").status().message()),
              HasSubstr("not a parity fixture: num_skips"));
}

}  // namespace
}  // namespace skipstream
