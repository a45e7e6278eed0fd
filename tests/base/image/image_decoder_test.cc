#include "base/image/image_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spng.h>
#include <webp/encode.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/image/image_encoder.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ImageShape kRgb = {.height = 5, .width = 4, .channels = 3};
constexpr ImageShape kGrey = {.height = 5, .width = 4, .channels = 1};
constexpr int kMaxScale = 8;

Image SomeImage(int height, int width, int channels) {
  Image pixels{height, width, channels, {}};
  for (int i = 0; i < height * width * channels; ++i) {
    pixels.data.push_back(static_cast<uint8_t>(i * 37 + i / 7));
  }
  return pixels;
}

std::string Png(const Image& pixels, int scale = 1) {
  return EncodeImage(pixels, ImageFormat::kPng, scale, {}).value().data;
}
std::string Webp(const Image& pixels, int scale = 1) {
  return EncodeImage(pixels, ImageFormat::kWebp, scale, {}).value().data;
}

struct PngOptions {
  int bit_depth = 8;
  int color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  bool interlaced = false;
  std::vector<spng_plte_entry> palette = {};
  std::string compressed_text = {};
};

// A PNG of any kind; `data` holds samples as the format stores them (16-bit: host order).
template <typename Sample>
std::string PngFrom(int height, int width, const std::vector<Sample>& data,
                    const PngOptions& options) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(SPNG_CTX_ENCODER),
                                                               spng_ctx_free);
  EXPECT_EQ(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1), 0);
  spng_ihdr header = {};
  header.width = static_cast<uint32_t>(width);
  header.height = static_cast<uint32_t>(height);
  header.bit_depth = static_cast<uint8_t>(options.bit_depth);
  header.color_type = static_cast<uint8_t>(options.color_type);
  header.interlace_method = options.interlaced ? SPNG_INTERLACE_ADAM7 : SPNG_INTERLACE_NONE;
  EXPECT_EQ(spng_set_ihdr(context.get(), &header), 0);
  if (!options.palette.empty()) {
    auto palette = std::make_unique<spng_plte>();
    palette->n_entries = static_cast<uint32_t>(options.palette.size());
    std::copy(options.palette.begin(), options.palette.end(), palette->entries);
    EXPECT_EQ(spng_set_plte(context.get(), palette.get()), 0);
  }
  std::string text = options.compressed_text;
  if (!text.empty()) {
    spng_text chunk = {};
    chunk.type = SPNG_ZTXT;
    std::strncpy(chunk.keyword, "bomb", sizeof(chunk.keyword));
    chunk.text = text.data();
    chunk.length = text.size();
    EXPECT_EQ(spng_set_text(context.get(), &chunk, 1), 0);
  }
  EXPECT_EQ(spng_encode_image(context.get(), data.data(), data.size() * sizeof(Sample),
                              SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE),
            0);
  size_t size = 0;
  int error = 0;
  const std::unique_ptr<void, void (*)(void*)> buffer(
      spng_get_png_buffer(context.get(), &size, &error), std::free);
  EXPECT_EQ(error, 0);
  return std::string(static_cast<const char*>(buffer.get()), size);
}

std::vector<uint8_t> Decoded(const std::string& data, const ImageShape& shape) {
  const absl::StatusOr<Image> pixels = DecodeImage(data, shape, kMaxScale);
  if (!pixels.ok()) {
    ADD_FAILURE() << pixels.status();
    return {};
  }
  EXPECT_EQ(pixels->height, shape.height);
  EXPECT_EQ(pixels->width, shape.width);
  EXPECT_EQ(pixels->channels, shape.channels);
  return pixels->data;
}

std::string Refusal(const std::string& data, const ImageShape& shape = kRgb) {
  const absl::Status status = DecodeImage(data, shape, kMaxScale).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(ImageDecoderTest, AImageOfTheRightSizeIsTakenAsItIs) {
  const Image rgb = SomeImage(5, 4, 3);
  EXPECT_EQ(Decoded(Png(rgb), kRgb), rgb.data);
  EXPECT_EQ(Decoded(Webp(rgb), kRgb), rgb.data);
  EXPECT_EQ(Decoded(std::string(rgb.data.begin(), rgb.data.end()), kRgb), rgb.data);
  const Image grey = SomeImage(5, 4, 1);
  EXPECT_EQ(Decoded(Png(grey), kGrey), grey.data);
  EXPECT_EQ(Decoded(Webp(grey), kGrey), grey.data) << "RGB in the file, luma of grey is grey";
  EXPECT_EQ(Decoded(std::string(grey.data.begin(), grey.data.end()), kGrey), grey.data);
}

TEST(ImageDecoderTest, RawValuesMayBeginLikeAFile) {
  for (const std::string& beginning :
       {std::string("\x89PNG\r\n\x1a\n"), std::string("RIFF\4\0\0\0WEBP", 12)}) {
    const std::string raw = beginning + std::string(48 - beginning.size(), 'x');
    const absl::StatusOr<Image> pixels =
        DecodeImage(raw, {.height = 4, .width = 4, .channels = 3}, 1);
    ASSERT_TRUE(pixels.ok()) << pixels.status();
    EXPECT_EQ(std::string(pixels->data.begin(), pixels->data.end()), raw);
  }
}

TEST(ImageDecoderTest, GreyIsRepeatedForAnRgbModel) {
  const Image grey = SomeImage(5, 4, 1);
  const std::vector<uint8_t> rgb = Decoded(Png(grey), kRgb);
  ASSERT_EQ(rgb.size(), grey.data.size() * 3);
  for (size_t i = 0; i < rgb.size(); ++i) EXPECT_EQ(rgb[i], grey.data[i / 3]);
}

TEST(ImageDecoderTest, ColourBecomesLumaForAGreyModel) {
  const Image pixels = {.height = 1,
                        .width = 5,
                        .channels = 3,
                        .data = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 100, 50, 200}};
  const ImageShape shape = {.height = 1, .width = 5, .channels = 1};
  // 0.299 R + 0.587 G + 0.114 B, rounded.
  EXPECT_THAT(Decoded(Png(pixels), shape), ElementsAre(76, 150, 29, 255, 82));
  EXPECT_THAT(Decoded(Webp(pixels), shape), ElementsAre(76, 150, 29, 255, 82));
}

TEST(ImageDecoderTest, WholeMultiplesAreAveragedDown) {
  const Image rgb = SomeImage(5, 4, 3);
  for (int scale = 1; scale <= kMaxScale; ++scale) {
    EXPECT_EQ(Decoded(Png(rgb, scale), kRgb), rgb.data) << scale;
    EXPECT_EQ(Decoded(Webp(rgb, scale), kRgb), rgb.data) << scale;
  }
  const Image square = {
      .height = 2, .width = 4, .channels = 1, .data = {0, 1, 255, 254, 2, 3, 255, 253}};
  EXPECT_THAT(Decoded(Png(square), {.height = 1, .width = 2, .channels = 1}), ElementsAre(2, 254))
      << "1.5 and 254.25, rounded";
}

TEST(ImageDecoderTest, SixteenBitSamplesAreRoundedOnce) {
  const std::vector<uint16_t> grey = {0, 65535, 128, 129, 32767, 32896};
  const ImageShape shape = {.height = 1, .width = 6, .channels = 1};
  const std::string png =
      PngFrom(1, 6, grey, {.bit_depth = 16, .color_type = SPNG_COLOR_TYPE_GRAYSCALE});
  // 257 sixteen-bit steps an eight-bit one; the border is at 128.5.
  EXPECT_THAT(Decoded(png, shape), ElementsAre(0, 255, 0, 1, 127, 128));
  const std::vector<uint16_t> rgba = {65535, 0, 257 * 9, 77, 257 * 5, 257 * 6, 257 * 7, 65535};
  EXPECT_THAT(
      Decoded(PngFrom(1, 2, rgba, {.bit_depth = 16, .color_type = SPNG_COLOR_TYPE_TRUECOLOR_ALPHA}),
              {.height = 1, .width = 2, .channels = 3}),
      ElementsAre(255, 0, 9, 5, 6, 7));
}

TEST(ImageDecoderTest, EveryKindOfPngIsRead) {
  const ImageShape two = {.height = 1, .width = 2, .channels = 3};
  const std::vector<uint8_t> alpha = {10, 20, 30, 0, 40, 50, 60, 128};
  EXPECT_THAT(Decoded(PngFrom(1, 2, alpha, {.color_type = SPNG_COLOR_TYPE_TRUECOLOR_ALPHA}), two),
              ElementsAre(10, 20, 30, 40, 50, 60))
      << "alpha is ignored";
  const std::vector<uint8_t> grey_alpha = {10, 0, 20, 255};
  EXPECT_THAT(
      Decoded(PngFrom(1, 2, grey_alpha, {.color_type = SPNG_COLOR_TYPE_GRAYSCALE_ALPHA}), two),
      ElementsAre(10, 10, 10, 20, 20, 20));
  const std::vector<uint8_t> indexes = {1, 0};
  EXPECT_THAT(Decoded(PngFrom(1, 2, indexes,
                              {.color_type = SPNG_COLOR_TYPE_INDEXED,
                               .palette = {{1, 2, 3, 0}, {200, 100, 50, 0}}}),
                      two),
              ElementsAre(200, 100, 50, 1, 2, 3));
  const std::vector<uint8_t> bits = {0b10000000};
  EXPECT_THAT(
      Decoded(PngFrom(1, 2, bits, {.bit_depth = 1, .color_type = SPNG_COLOR_TYPE_GRAYSCALE}), two),
      ElementsAre(255, 255, 255, 0, 0, 0));
  const Image rgb = SomeImage(10, 8, 3);
  EXPECT_EQ(Decoded(PngFrom(10, 8, rgb.data, {.interlaced = true}), kRgb), Decoded(Png(rgb), kRgb));
}

TEST(ImageDecoderTest, OtherSizesAreRefusedNamingTheRightOnes) {
  for (const auto& [height, width] :
       {std::pair(5, 5), {4, 4}, {10, 4}, {5, 8}, {7, 6}, {1, 1}, {45, 36}}) {
    for (const std::string& file :
         {Png(SomeImage(height, width, 3)), Webp(SomeImage(height, width, 3))}) {
      EXPECT_EQ(Refusal(file), absl::StrCat("must have 4x5 pixels or a whole multiple of that, up "
                                            "to 8 times, got ",
                                            width, "x", height));
    }
  }
}

TEST(ImageDecoderTest, WhatIsNeitherAFileNorRawValuesIsRefused) {
  EXPECT_THAT(Refusal("GIF89a"), HasSubstr("must be a PNG or WebP file, or 60 raw values"));
  EXPECT_THAT(Refusal(""), HasSubstr("got 0 bytes"));
  EXPECT_THAT(Refusal(std::string(61, 'x')), HasSubstr("got 61 bytes"));
  EXPECT_THAT(Refusal(std::string(20, 'x')), HasSubstr("60 raw values"));
}

// --- Hostile files ---

uint32_t Crc(const std::string& data, size_t begin, size_t end) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = begin; i < end; ++i) {
    crc ^= static_cast<uint8_t>(data[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

void PutBigEndian(uint32_t value, size_t at, std::string& data) {
  for (size_t i = 0; i < 4; ++i) data[at + i] = static_cast<char>(value >> (24 - 8 * i));
}

uint32_t GetBigEndian(const std::string& data, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(data[at + i]);
  return value;
}

// Makes every checksum right again, as far as the chunks can be followed.
std::string WithChecksums(std::string png) {
  size_t at = 8;
  while (at + 12 <= png.size()) {
    const size_t length = GetBigEndian(png, at);
    if (length > png.size() - at - 12) break;
    PutBigEndian(Crc(png, at + 4, at + 8 + length), at + 8 + length, png);
    at += length + 12;
  }
  return png;
}

// Every byte, changed in several ways; `repair` comes before decoding.
void ForEachMutation(const std::string& file,
                     const std::function<std::string(std::string)>& repair) {
  int accepted = 0;
  int refused = 0;
  for (size_t i = 0; i < file.size(); ++i) {
    for (const int change : {0x01, 0x10, 0x80, 0xFF}) {
      std::string mutated = file;
      mutated[i] = static_cast<char>(mutated[i] ^ change);
      const absl::StatusOr<Image> pixels = DecodeImage(repair(mutated), kRgb, kMaxScale);
      if (pixels.ok()) {
        ++accepted;
        EXPECT_EQ(pixels->data.size(), 60u);
      } else {
        ++refused;
        EXPECT_EQ(pixels.status().code(), absl::StatusCode::kInvalidArgument) << pixels.status();
      }
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(accepted + refused, static_cast<int>(file.size()) * 4);
}

TEST(HostileImageTest, AChangedPngIsRefused) {
  const std::string file = Png(SomeImage(5, 4, 3));
  for (size_t i = 8; i < file.size(); ++i) {
    std::string mutated = file;
    mutated[i] = static_cast<char>(mutated[i] ^ 0x41);
    EXPECT_FALSE(DecodeImage(mutated, kRgb, kMaxScale).ok()) << "byte " << i;
  }
}

TEST(HostileImageTest, ChangedFilesWithRightChecksumsEndInAImageOrARefusal) {
  ForEachMutation(Png(SomeImage(5, 4, 3), 2), WithChecksums);
  ForEachMutation(PngFrom(10, 8, SomeImage(10, 8, 3).data, {.interlaced = true}), WithChecksums);
  const std::vector<uint8_t> indexes(20, 1);
  ForEachMutation(
      PngFrom(5, 4, indexes,
              {.color_type = SPNG_COLOR_TYPE_INDEXED, .palette = {{1, 2, 3, 0}, {9, 9, 9, 0}}}),
      WithChecksums);
}

TEST(HostileImageTest, ChangedWebpFilesEndInAImageOrARefusal) {
  const auto as_it_is = [](std::string data) { return data; };
  ForEachMutation(Webp(SomeImage(5, 4, 3)), as_it_is);
  const Image pixels = SomeImage(5, 4, 3);
  uint8_t* lossy = nullptr;
  const size_t size = WebPEncodeRGB(pixels.data.data(), 4, 5, 12, 50, &lossy);
  const std::string file(reinterpret_cast<char*>(lossy), size);
  WebPFree(lossy);
  EXPECT_EQ(Decoded(file, kRgb).size(), 60u);
  ForEachMutation(file, as_it_is);
}

TEST(HostileImageTest, ATruncatedFileIsRefusedWhereverItEnds) {
  const Image pixels = SomeImage(5, 4, 3);
  for (const std::string& file : {Png(pixels, 3), Webp(pixels, 3)}) {
    for (size_t size = 12; size < file.size(); ++size) {
      if (size == 60) continue;  // as many as raw values, but not raw
      EXPECT_FALSE(DecodeImage(file.substr(0, size), kRgb, kMaxScale).ok()) << size;
    }
  }
}

TEST(HostileImageTest, AHugePngIsRefusedByItsHeader) {
  for (const uint32_t side : {100'000u, 36u}) {
    std::string file = Png(SomeImage(5, 4, 3));
    PutBigEndian(side, 16, file);
    PutBigEndian(side, 20, file);
    EXPECT_THAT(Refusal(WithChecksums(file)), HasSubstr(absl::StrCat("got ", side, "x", side)));
  }
  for (const uint32_t side : {0x7FFFFFFFu, 0xFFFFFFFFu, 0u}) {
    std::string file = Png(SomeImage(5, 4, 3));
    PutBigEndian(side, 16, file);
    PutBigEndian(side, 20, file);
    EXPECT_THAT(Refusal(WithChecksums(file)), HasSubstr("valid PNG")) << side;
  }
}

TEST(HostileImageTest, AHugeWebpIsRefusedByItsHeader) {
  std::string file = Webp(SomeImage(5, 4, 3));
  ASSERT_EQ(file.substr(12, 4), "VP8L");
  // 14 bits each of width - 1 and height - 1 behind the signature byte.
  for (size_t i = 21; i < 24; ++i) file[i] = static_cast<char>(0xFF);
  file[24] = static_cast<char>(file[24] | 0x0F);
  EXPECT_THAT(Refusal(file), HasSubstr("got 16384x16384"));
}

TEST(HostileImageTest, ACompressedTextDoesNotUnpackWithoutBound) {
  const Image pixels = SomeImage(5, 4, 3);
  const std::string bomb =
      PngFrom(5, 4, pixels.data, {.compressed_text = std::string(64 << 20, 'x')});
  EXPECT_LT(bomb.size(), 100'000u);
  EXPECT_THAT(Refusal(bomb), HasSubstr("valid PNG"));
  // One of a size that our own images may carry does no harm.
  EXPECT_EQ(
      Decoded(PngFrom(5, 4, pixels.data, {.compressed_text = std::string(2 << 20, 'x')}), kRgb),
      pixels.data);
}

TEST(HostileImageTest, AnAnimationIsRefused) {
  const std::string file("RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0\x02\0\0\0\x03\0\0\x04\0\0", 30);
  EXPECT_THAT(Refusal(file), HasSubstr("animated"));
}

// --- Planes ---

TEST(InitImageTest, PixelsBecomePlanesFromMinusOneToOne) {
  const Image image = {.height = 1, .width = 2, .channels = 3, .data = {0, 255, 51, 102, 204, 153}};
  const InitImage init = MakeInitImage(image, nullptr);
  const std::vector<float> expected = {-1.0f, -0.2f, 1.0f, 0.6f, -0.6f, 0.2f};
  ASSERT_EQ(init.pixels.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(init.pixels[i], expected[i], 1e-6);
  EXPECT_TRUE(init.mask.empty());
}

TEST(InitImageTest, EveryValueComesBackFromItsPlane) {
  Image image = {.height = 16, .width = 16, .channels = 1, .data = {}};
  for (int i = 0; i < 256; ++i) image.data.push_back(static_cast<uint8_t>(i));
  const InitImage init = MakeInitImage(image, nullptr);
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(std::round(static_cast<double>(init.pixels[i]) * 127.5 + 127.5), i);
  }
}

TEST(InitImageTest, WhiteOfTheMaskIsOne) {
  const Image image = SomeImage(1, 3, 3);
  const Image mask = {.height = 1, .width = 3, .channels = 1, .data = {255, 0, 51}};
  EXPECT_THAT(MakeInitImage(image, &mask).mask, ElementsAre(1.0f, 0.0f, 0.2f));
}

}  // namespace
}  // namespace skipstream
