#include "model/execution/noise_source.h"

#include <vector>

#include "gtest/gtest.h"

namespace skipstream {
namespace {

TEST(NoiseSourceTest, GivesTheNumbersOfTorchRandn) {
  // torch.manual_seed(0); torch.randn(16), as printed all over PyTorch's documentation.
  const std::vector<double> published = {-1.1258, -1.1524, -0.2506, -0.4339,
                                         0.8487,  0.6920,  -0.3160, -2.1152};
  const std::vector<double> noise = NoiseSource(0).Draw(1, 4, 4);
  ASSERT_EQ(noise.size(), 16u);
  for (size_t i = 0; i < published.size(); ++i) EXPECT_NEAR(noise[i], published[i], 5e-5) << i;
}

TEST(NoiseSourceTest, NumbersAreFloat32) {
  for (double v : NoiseSource(7).Draw(3, 5, 5))
    EXPECT_EQ(v, static_cast<double>(static_cast<float>(v)));
}

TEST(NoiseSourceTest, LaterNoiseContinuesTheGenerator) {
  NoiseSource source(42);
  const std::vector<double> first = source.Draw(1, 4, 4);
  const std::vector<double> second = source.Draw(1, 4, 4);
  const std::vector<double> both = NoiseSource(42).Draw(2, 4, 4);
  EXPECT_EQ(first, std::vector<double>(both.begin(), both.begin() + 16));
  EXPECT_EQ(second, std::vector<double>(both.begin() + 16, both.end()));
}

TEST(NoiseSourceTest, SeedsDiffer) {
  EXPECT_NE(NoiseSource(1).Draw(1, 4, 4), NoiseSource(2).Draw(1, 4, 4));
}

}  // namespace
}  // namespace skipstream
