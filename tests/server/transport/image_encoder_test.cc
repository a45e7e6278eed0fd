#include "server/transport/image_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spng.h>
#include <webp/decode.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

Pixels SomePixels(int height, int width, int channels) {
  Pixels pixels{height, width, channels, {}};
  for (int i = 0; i < height * width * channels; ++i) {
    pixels.data.push_back(static_cast<uint8_t>(i * 37 + i / 7));
  }
  return pixels;
}

struct DecodedPng {
  int width = 0;
  int height = 0;
  int color_type = 0;
  std::vector<uint8_t> data;
  std::map<std::string, std::string> texts;
};

DecodedPng DecodePng(const std::string& file) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(0), spng_ctx_free);
  EXPECT_EQ(spng_set_png_buffer(context.get(), file.data(), file.size()), 0);
  spng_ihdr header = {};
  EXPECT_EQ(spng_get_ihdr(context.get(), &header), 0);
  EXPECT_EQ(header.bit_depth, 8);
  DecodedPng png{
      static_cast<int>(header.width), static_cast<int>(header.height), header.color_type, {}, {}};
  size_t size = 0;
  EXPECT_EQ(spng_decoded_image_size(context.get(), SPNG_FMT_PNG, &size), 0);
  png.data.resize(size);
  EXPECT_EQ(spng_decode_image(context.get(), png.data.data(), size, SPNG_FMT_PNG, 0), 0);
  uint32_t count = 0;
  if (spng_get_text(context.get(), nullptr, &count) == 0) {
    std::vector<spng_text> texts(count);
    EXPECT_EQ(spng_get_text(context.get(), texts.data(), &count), 0);
    for (const spng_text& text : texts)
      png.texts[text.keyword] = std::string(text.text, text.length);
  }
  return png;
}

TEST(ImageEncoderTest, PngHoldsTheRgbPixelsAsTheyAre) {
  const Pixels pixels = SomePixels(5, 3, 3);
  const EncodedPicture picture = EncodePicture(pixels, PictureFormat::kPng, 1, {}).value();
  EXPECT_EQ(picture.width, 3);
  EXPECT_EQ(picture.height, 5);
  EXPECT_EQ(picture.channels, 3);
  const DecodedPng png = DecodePng(picture.data);
  EXPECT_EQ(png.width, 3);
  EXPECT_EQ(png.height, 5);
  EXPECT_EQ(png.color_type, SPNG_COLOR_TYPE_TRUECOLOR);
  EXPECT_EQ(png.data, pixels.data);
}

TEST(ImageEncoderTest, PngHoldsGreyPixelsAsGrey) {
  const Pixels pixels = SomePixels(4, 8, 1);
  const DecodedPng png = DecodePng(EncodePicture(pixels, PictureFormat::kPng, 1, {}).value().data);
  EXPECT_EQ(png.color_type, SPNG_COLOR_TYPE_GRAYSCALE);
  EXPECT_EQ(png.data, pixels.data);
}

TEST(ImageEncoderTest, PngCarriesTexts) {
  const std::string json(20000, 'j');
  const DecodedPng png =
      DecodePng(EncodePicture(SomePixels(2, 2, 3), PictureFormat::kPng, 1,
                              {{"Software", "Skipstream 1"}, {"skipstream.request", json}})
                    .value()
                    .data);
  EXPECT_THAT(png.texts, UnorderedElementsAre(Pair("Software", "Skipstream 1"),
                                              Pair("skipstream.request", json)));
}

TEST(ImageEncoderTest, TheSamePictureGivesTheSameBytes) {
  for (PictureFormat format : {PictureFormat::kPng, PictureFormat::kWebp, PictureFormat::kRaw}) {
    const auto encode = [&] {
      return EncodePicture(SomePixels(16, 16, 3), format, 4, {{"key", "text"}}).value().data;
    };
    EXPECT_EQ(encode(), encode()) << PictureFormatName(format);
  }
}

TEST(ImageEncoderTest, ScalingRepeatsEveryPixel) {
  const Pixels pixels{1, 2, 3, {1, 2, 3, 4, 5, 6}};
  const EncodedPicture picture = EncodePicture(pixels, PictureFormat::kRaw, 2, {}).value();
  EXPECT_EQ(picture.width, 4);
  EXPECT_EQ(picture.height, 2);
  EXPECT_EQ(std::vector<uint8_t>(picture.data.begin(), picture.data.end()),
            (std::vector<uint8_t>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6,  //
                                  1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
}

TEST(ImageEncoderTest, RawIsThePixels) {
  const Pixels pixels = SomePixels(3, 4, 1);
  const EncodedPicture picture = EncodePicture(pixels, PictureFormat::kRaw, 1, {}).value();
  EXPECT_EQ(picture.channels, 1);
  EXPECT_EQ(std::vector<uint8_t>(picture.data.begin(), picture.data.end()), pixels.data);
}

std::vector<uint8_t> DecodeWebp(const std::string& file, int width, int height) {
  int decoded_width = 0;
  int decoded_height = 0;
  uint8_t* rgb = WebPDecodeRGB(reinterpret_cast<const uint8_t*>(file.data()), file.size(),
                               &decoded_width, &decoded_height);
  EXPECT_EQ(decoded_width, width);
  EXPECT_EQ(decoded_height, height);
  std::vector<uint8_t> data(rgb, rgb + width * height * 3);
  WebPFree(rgb);
  return data;
}

TEST(ImageEncoderTest, WebpIsLossless) {
  const Pixels pixels = SomePixels(7, 9, 3);
  const EncodedPicture picture = EncodePicture(pixels, PictureFormat::kWebp, 1, {}).value();
  EXPECT_EQ(DecodeWebp(picture.data, 9, 7), pixels.data);
}

TEST(ImageEncoderTest, WebpHoldsGreyAsRgb) {
  const EncodedPicture picture =
      EncodePicture({1, 2, 1, {10, 200}}, PictureFormat::kWebp, 1, {}).value();
  EXPECT_EQ(picture.channels, 3);
  EXPECT_THAT(DecodeWebp(picture.data, 2, 1), ElementsAre(10, 10, 10, 200, 200, 200));
}

TEST(ImageEncoderTest, APictureTooLargeForWebpIsAnErrorThatSaysSo) {
  const absl::Status status =
      EncodePicture(SomePixels(1, 200, 1), PictureFormat::kWebp, 100, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("16383"));
}

TEST(ImageEncoderTest, OtherNumbersOfChannelsAreRefused) {
  EXPECT_EQ(EncodePicture(SomePixels(2, 2, 2), PictureFormat::kPng, 1, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace skipstream
