#include "server/transport/picture_limits.h"

#include <gtest/gtest.h>

#include "tests/server/transport/transport_harness.h"

namespace skipstream {
namespace {

NetworkInfo Square(int pixels) {
  NetworkInfo info = FruitInfo();
  info.width = info.height = pixels;
  return info;
}

TEST(PictureLimitsTest, AScaleIsBoundedByThePictureToo) {
  // 4 * 4 * 3 bytes * 256^2 = 3 MiB.
  EXPECT_EQ(MaxScale(Square(4), {.max_scale = 1000}), 256);
  EXPECT_EQ(MaxScale(Square(4), {.max_scale = 16}), 16);
  EXPECT_EQ(MaxScale(Square(512), {.max_scale = 16}), 2);
  EXPECT_EQ(MaxScale(Square(2000), {.max_scale = 16}), 1) << "a model's own size is always there";
}

TEST(PictureLimitsTest, AGivenPictureLeavesLessRoomInAMessage) {
  for (const int pixels : {32, 64, 128, 256, 330}) {
    const NetworkInfo info = Square(pixels);
    const int64_t given = PictureBytes(info) + MaskBytes(info);
    EXPECT_EQ(MaxScale(info, RequestLimits(), given), MaxScale(info, RequestLimits())) << pixels;
  }
  const NetworkInfo large = Square(512);
  EXPECT_EQ(MaxScale(large, RequestLimits(), PictureBytes(large)), 1);
  EXPECT_TRUE(FitsIntoMessage(large, PictureBytes(large) + MaskBytes(large)));
}

TEST(PictureLimitsTest, ManyImagesBringALargePictureBackAFewTimesOnly) {
  EXPECT_GE(MaxCountWithPicture(PictureBytes(Square(273))), 64);
  EXPECT_LT(MaxCountWithPicture(PictureBytes(Square(274))), 64);
  EXPECT_EQ(MaxCountWithPicture(PictureBytes(Square(512))), 18);
  EXPECT_EQ(MaxCountWithPicture(int64_t{1} << 40), 1);
}

TEST(PictureLimitsTest, SomePicturesAreTooLargeToBeGiven) {
  const auto fits = [](int pixels, bool with_mask) {
    const NetworkInfo info = Square(pixels);
    return FitsIntoMessage(info, PictureBytes(info) + (with_mask ? MaskBytes(info) : 0));
  };
  EXPECT_TRUE(fits(573, true));
  EXPECT_FALSE(fits(574, true));
  EXPECT_TRUE(fits(637, false));
  EXPECT_FALSE(fits(638, false));
}

}  // namespace
}  // namespace skipstream
