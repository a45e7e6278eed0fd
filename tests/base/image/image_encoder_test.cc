#include "base/image/image_encoder.h"

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

Image SomeImage(int height, int width, int channels) {
  Image pixels{height, width, channels, {}};
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
  const Image pixels = SomeImage(5, 3, 3);
  const EncodedImage image = EncodeImage(pixels, ImageFormat::kPng, 1, {}).value();
  EXPECT_EQ(image.width, 3);
  EXPECT_EQ(image.height, 5);
  EXPECT_EQ(image.channels, 3);
  const DecodedPng png = DecodePng(image.data);
  EXPECT_EQ(png.width, 3);
  EXPECT_EQ(png.height, 5);
  EXPECT_EQ(png.color_type, SPNG_COLOR_TYPE_TRUECOLOR);
  EXPECT_EQ(png.data, pixels.data);
}

TEST(ImageEncoderTest, PngHoldsGreyPixelsAsGrey) {
  const Image pixels = SomeImage(4, 8, 1);
  const DecodedPng png = DecodePng(EncodeImage(pixels, ImageFormat::kPng, 1, {}).value().data);
  EXPECT_EQ(png.color_type, SPNG_COLOR_TYPE_GRAYSCALE);
  EXPECT_EQ(png.data, pixels.data);
}

TEST(ImageEncoderTest, PngCarriesTexts) {
  const std::string json(20000, 'j');
  const DecodedPng png =
      DecodePng(EncodeImage(SomeImage(2, 2, 3), ImageFormat::kPng, 1,
                            {{"Software", "Skipstream 1"}, {"skipstream.request", json}})
                    .value()
                    .data);
  EXPECT_THAT(png.texts, UnorderedElementsAre(Pair("Software", "Skipstream 1"),
                                              Pair("skipstream.request", json)));
}

TEST(ImageEncoderTest, TheSameImageGivesTheSameBytes) {
  for (ImageFormat format : {ImageFormat::kPng, ImageFormat::kWebp, ImageFormat::kRaw}) {
    const auto encode = [&] {
      return EncodeImage(SomeImage(16, 16, 3), format, 4, {{"key", "text"}}).value().data;
    };
    EXPECT_EQ(encode(), encode()) << ImageFormatName(format);
  }
}

TEST(ImageEncoderTest, ScalingRepeatsEveryPixel) {
  const Image pixels{1, 2, 3, {1, 2, 3, 4, 5, 6}};
  const EncodedImage image = EncodeImage(pixels, ImageFormat::kRaw, 2, {}).value();
  EXPECT_EQ(image.width, 4);
  EXPECT_EQ(image.height, 2);
  EXPECT_EQ(std::vector<uint8_t>(image.data.begin(), image.data.end()),
            (std::vector<uint8_t>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6,  //
                                  1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
}

TEST(ImageEncoderTest, RawIsThePixels) {
  const Image pixels = SomeImage(3, 4, 1);
  const EncodedImage image = EncodeImage(pixels, ImageFormat::kRaw, 1, {}).value();
  EXPECT_EQ(image.channels, 1);
  EXPECT_EQ(std::vector<uint8_t>(image.data.begin(), image.data.end()), pixels.data);
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
  const Image pixels = SomeImage(7, 9, 3);
  const EncodedImage image = EncodeImage(pixels, ImageFormat::kWebp, 1, {}).value();
  EXPECT_EQ(DecodeWebp(image.data, 9, 7), pixels.data);
}

TEST(ImageEncoderTest, WebpHoldsGreyAsRgb) {
  const EncodedImage image = EncodeImage({1, 2, 1, {10, 200}}, ImageFormat::kWebp, 1, {}).value();
  EXPECT_EQ(image.channels, 3);
  EXPECT_THAT(DecodeWebp(image.data, 2, 1), ElementsAre(10, 10, 10, 200, 200, 200));
}

TEST(ImageEncoderTest, AImageTooLargeForWebpIsAnErrorThatSaysSo) {
  const absl::Status status =
      EncodeImage(SomeImage(1, 200, 1), ImageFormat::kWebp, 100, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("16383"));
}

TEST(ImageEncoderTest, OtherNumbersOfChannelsAreRefused) {
  EXPECT_EQ(EncodeImage(SomeImage(2, 2, 2), ImageFormat::kPng, 1, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace skipstream
