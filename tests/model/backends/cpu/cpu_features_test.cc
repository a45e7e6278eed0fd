#include "model/backends/cpu/cpu_features.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

TEST(FasterPrecisionTest, AnIntelWithAmxComputesInBFloat16) {
  const PrecisionChoice choice =
      FasterPrecision({.family = 6, .avx512 = true, .avx512_bf16 = true, .amx_bf16 = true});
  EXPECT_EQ(choice.precision, Precision::kBFloat16);
  EXPECT_THAT(choice.reason, HasSubstr("AMX"));
}

TEST(FasterPrecisionTest, AnIntelWithAvx512Bf16AloneComputesInFloat32) {
  const PrecisionChoice choice =
      FasterPrecision({.family = 6, .avx512 = true, .avx512_bf16 = true});
  EXPECT_EQ(choice.precision, Precision::kFloat32);
  EXPECT_THAT(choice.reason, HasSubstr("without AMX"));
}

TEST(FasterPrecisionTest, Zen4And5ComputeInBFloat16) {
  for (const int family : {0x19, 0x1a}) {
    EXPECT_EQ(
        FasterPrecision({.is_amd = true, .family = family, .avx512 = true, .avx512_bf16 = true})
            .precision,
        Precision::kBFloat16);
  }
  // Zen 3 is of the same family, without AVX-512; later families are not known.
  EXPECT_EQ(FasterPrecision({.is_amd = true, .family = 0x19}).precision, Precision::kFloat32);
  EXPECT_EQ(FasterPrecision({.is_amd = true, .family = 0x1b, .avx512 = true, .avx512_bf16 = true})
                .precision,
            Precision::kFloat32);
}

TEST(FasterPrecisionTest, ACpuWithoutThemComputesInFloat32) {
  EXPECT_EQ(FasterPrecision({}).precision, Precision::kFloat32);
  // Tiles alone do not help: the fused kernels need the vectors as well.
  EXPECT_EQ(FasterPrecision({.amx_bf16 = true}).precision, Precision::kFloat32);
}

// Linux reads the same registers, so it must name the same features.
TEST(CpuFeaturesTest, AgreeWithTheKernelOfLinux) {
  std::ifstream file("/proc/cpuinfo");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  if (text.find("flags\t") == std::string::npos) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const size_t begin = text.find("flags\t");
  const std::string line = text.substr(begin, text.find('\n', begin) - begin);
  const std::vector<std::string> flags = absl::StrSplit(line, absl::ByAnyChar(" \t"));
  const auto has = [&flags](const char* flag) {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  };
  const CpuFeatures cpu = DetectCpuFeatures();
  EXPECT_EQ(cpu.avx512_bf16, has("avx512_bf16"));
  EXPECT_EQ(cpu.amx_bf16, has("amx_bf16") && has("amx_tile"));
  EXPECT_EQ(cpu.is_amd, text.find("AuthenticAMD") != std::string::npos);
  EXPECT_THAT(text, HasSubstr("cpu family\t: " + std::to_string(cpu.family) + "\n"));
}

}  // namespace
}  // namespace skipstream
