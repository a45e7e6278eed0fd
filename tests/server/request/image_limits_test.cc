#include "server/request/image_limits.h"

#include <gtest/gtest.h>

#include "tests/testing/test_models.h"

namespace skipstream {
namespace {

NetworkInfo Square(int pixels) {
  NetworkInfo info = FruitInfo();
  info.width = info.height = pixels;
  return info;
}

TEST(ImageLimitsTest, AScaleIsBoundedByTheImageToo) {
  // 4 * 4 * 3 bytes * 256^2 = 3 MiB.
  EXPECT_EQ(MaxScale(Square(4), {.max_scale = 1000}), 256);
  EXPECT_EQ(MaxScale(Square(4), {.max_scale = 16}), 16);
  EXPECT_EQ(MaxScale(Square(512), {.max_scale = 16}), 2);
  EXPECT_EQ(MaxScale(Square(2000), {.max_scale = 16}), 1) << "a model's own size is always there";
}

TEST(ImageLimitsTest, AnInitImageLeavesLessRoomInAMessage) {
  for (const int pixels : {32, 64, 128, 256, 330}) {
    const NetworkInfo info = Square(pixels);
    const int64_t given = ImageBytes(info) + MaskBytes(info);
    EXPECT_EQ(MaxScale(info, RequestLimits(), given), MaxScale(info, RequestLimits())) << pixels;
  }
  const NetworkInfo large = Square(512);
  EXPECT_EQ(MaxScale(large, RequestLimits(), ImageBytes(large)), 1);
  EXPECT_TRUE(FitsIntoMessage(large, ImageBytes(large) + MaskBytes(large)));
}

TEST(ImageLimitsTest, ManyImagesBringALargeImageBackAFewTimesOnly) {
  EXPECT_GE(MaxCountWithInitImage(ImageBytes(Square(273))), 64);
  EXPECT_LT(MaxCountWithInitImage(ImageBytes(Square(274))), 64);
  EXPECT_EQ(MaxCountWithInitImage(ImageBytes(Square(512))), 18);
  EXPECT_EQ(MaxCountWithInitImage(int64_t{1} << 40), 1);
}

TEST(ImageLimitsTest, SomeImagesAreTooLargeToBeGiven) {
  const auto fits = [](int pixels, bool with_mask) {
    const NetworkInfo info = Square(pixels);
    return FitsIntoMessage(info, ImageBytes(info) + (with_mask ? MaskBytes(info) : 0));
  };
  EXPECT_TRUE(fits(573, true));
  EXPECT_FALSE(fits(574, true));
  EXPECT_TRUE(fits(637, false));
  EXPECT_FALSE(fits(638, false));
}

}  // namespace
}  // namespace skipstream
