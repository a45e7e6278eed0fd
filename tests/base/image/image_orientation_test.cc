// Reads the orientation that image files carry, and detects animations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/image/image_container.h"
#include "base/image/image_decoder.h"
#include "base/image/image_encoder.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;

// Two rows of three pixels, as files store them.
const Image kStored = {.height = 2, .width = 3, .channels = 1, .data = {10, 20, 30, 40, 50, 60}};

std::string BigEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string LittleEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

// EXIF data with two tags, the second of which is the orientation.
std::string Exif(uint32_t orientation, bool little_endian = false) {
  const auto number = little_endian ? &LittleEndian : &BigEndian;
  return absl::StrCat(little_endian ? "II" : "MM", number(42, 2), number(8, 4), number(2, 2),
                      number(0x010F, 2), number(2, 2), number(4, 4), "abc", std::string(1, '\0'),
                      number(0x0112, 2), number(3, 2), number(1, 4), number(orientation, 2),
                      number(0, 2), number(0, 4));
}

uint32_t Crc(const std::string& data) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char c : data) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

std::string PngChunk(const std::string& type, const std::string& data) {
  return absl::StrCat(BigEndian(static_cast<uint32_t>(data.size()), 4), type, data,
                      BigEndian(Crc(type + data), 4));
}

// The chunk comes behind the header, or at the end.
std::string PngWith(const std::string& chunk, bool at_end = false, int scale = 1) {
  constexpr size_t kHeaderEnd = 33;
  constexpr size_t kEndBytes = 12;
  std::string png = EncodeImage(kStored, ImageFormat::kPng, scale, {}).value().data;
  return png.insert(at_end ? png.size() - kEndBytes : kHeaderEnd, chunk);
}

std::string WebpWith(const std::string& exif) {
  constexpr char kHasExif = 8;
  const std::string simple = EncodeImage(kStored, ImageFormat::kWebp, 1, {}).value().data;
  std::string chunks =
      absl::StrCat("WEBPVP8X", LittleEndian(10, 4), std::string(1, kHasExif), LittleEndian(0, 3),
                   LittleEndian(static_cast<uint32_t>(kStored.width - 1), 3),
                   LittleEndian(static_cast<uint32_t>(kStored.height - 1), 3), simple.substr(12),
                   "EXIF", LittleEndian(static_cast<uint32_t>(exif.size()), 4), exif);
  if (exif.size() % 2 == 1) chunks += '\0';
  return absl::StrCat("RIFF", LittleEndian(static_cast<uint32_t>(chunks.size()), 4), chunks);
}

absl::StatusOr<Image> Decode(const std::string& file, bool turned = false) {
  const ImageShape shape = {.height = turned ? 3 : 2, .width = turned ? 2 : 3, .channels = 1};
  return DecodeImage(file, shape, /*max_scale=*/4);
}

std::vector<uint8_t> Data(const std::string& file, bool turned = false) {
  const absl::StatusOr<Image> pixels = Decode(file, turned);
  EXPECT_TRUE(pixels.ok()) << pixels.status();
  return pixels.ok() ? pixels->data : std::vector<uint8_t>();
}

TEST(OrientationTest, AllEightAreApplied) {
  const std::vector<std::vector<uint8_t>> upright = {
      {10, 20, 30, 40, 50, 60}, {30, 20, 10, 60, 50, 40}, {60, 50, 40, 30, 20, 10},
      {40, 50, 60, 10, 20, 30}, {10, 40, 20, 50, 30, 60}, {40, 10, 50, 20, 60, 30},
      {60, 30, 50, 20, 40, 10}, {30, 60, 20, 50, 10, 40}};
  for (uint32_t orientation = 1; orientation <= 8; ++orientation) {
    const bool turned = orientation >= 5;
    const std::vector<uint8_t>& expected = upright[orientation - 1];
    for (const bool little_endian : {false, true}) {
      const std::string exif = Exif(orientation, little_endian);
      EXPECT_EQ(Data(PngWith(PngChunk("eXIf", exif)), turned), expected) << orientation;
      EXPECT_EQ(Data(PngWith(PngChunk("eXIf", exif), /*at_end=*/true), turned), expected)
          << orientation;
      EXPECT_EQ(Data(PngWith(PngChunk("eXIf", exif), /*at_end=*/false, /*scale=*/3), turned),
                expected)
          << orientation;
      EXPECT_EQ(Data(WebpWith(exif), turned), expected) << orientation;
      EXPECT_EQ(Data(WebpWith(absl::StrCat(absl::string_view("Exif\0\0", 6), exif)), turned),
                expected)
          << orientation;
    }
  }
}

TEST(OrientationTest, TheSizeIsTheOneOfTheUprightImage) {
  for (const std::string& file : {PngWith(PngChunk("eXIf", Exif(6))), WebpWith(Exif(6))}) {
    EXPECT_THAT(std::string(Decode(file).status().message()),
                HasSubstr("must have 3x2 pixels or a whole multiple of that, up to 4 times, got "
                          "2x3 after its EXIF orientation"));
  }
}

TEST(OrientationTest, MalformedExifDataIsIgnored) {
  const std::string good = Exif(3);
  std::vector<std::string> malformed = {Exif(0), Exif(9), Exif(0xFFFF)};
  malformed.push_back("II*" + good.substr(3));  // the other byte order
  malformed.push_back("XX" + good.substr(2));   // none
  malformed.push_back(good.substr(0, 4) + "\xFF\xFF\xFF\xFF" +
                      good.substr(8));                                        // directory outside
  malformed.push_back(good.substr(0, 8) + "\xFF\xFF" + good.substr(10, 12));  // entries missing
  std::string wrong_type = good;
  wrong_type[25] = 4;
  malformed.push_back(wrong_type);
  for (size_t size = 0; size < good.size() - 8; ++size) malformed.push_back(good.substr(0, size));
  for (const std::string& exif : malformed) {
    EXPECT_EQ(ExifOrientation(exif), 1);
    EXPECT_EQ(Data(WebpWith(exif)), kStored.data);
    if (exif.empty()) continue;  // no PNG: the decoder takes no chunk without data
    EXPECT_EQ(Data(PngWith(PngChunk("eXIf", exif))), kStored.data) << exif.size();
  }
}

TEST(OrientationTest, AnyExifDataGivesAnOrientation) {
  const std::string good = Exif(6, /*little_endian=*/true);
  for (size_t i = 0; i < good.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = good;
      changed[i] = static_cast<char>(value);
      // In memory of exactly this size, so that sanitizers see reads outside of it.
      const std::vector<char> exact(changed.begin(), changed.end());
      const int orientation = ExifOrientation(absl::string_view(exact.data(), exact.size()));
      EXPECT_GE(orientation, 1);
      EXPECT_LE(orientation, 8);
    }
  }
}

TEST(ContainerTest, ChunksThatAreNotThereAreNotFound) {
  const std::string png = PngWith(PngChunk("eXIf", "data"));
  EXPECT_EQ(FindPngChunk(png, "eXIf"), "data");
  EXPECT_EQ(FindPngChunk(png, "tEXt"), std::nullopt);
  const std::string webp = WebpWith("odd");
  EXPECT_EQ(FindWebpChunk(webp, "EXIF"), "odd");
  EXPECT_EQ(FindWebpChunk(webp, "ICCP"), std::nullopt);
  for (size_t size = 0; size < png.size(); ++size) {
    const std::vector<char> exact(png.begin(), png.begin() + static_cast<std::ptrdiff_t>(size));
    const bool found = FindPngChunk(absl::string_view(exact.data(), size), "eXIf").has_value();
    EXPECT_EQ(found, size >= 33 + 12 + 4) << size;
  }
  for (size_t size = 0; size < webp.size() - 1; ++size) {
    const std::vector<char> exact(webp.begin(), webp.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(FindWebpChunk(absl::string_view(exact.data(), size), "EXIF"), std::nullopt) << size;
  }
}

TEST(AnimationTest, AnAnimatedPngIsRefusedAsAnAnimatedWebpIs) {
  const std::string animation = PngChunk("acTL", BigEndian(2, 4) + BigEndian(0, 4));
  EXPECT_THAT(std::string(Decode(PngWith(animation)).status().message()),
              HasSubstr("must be a single image, got an animated PNG file"));
  std::string webp = WebpWith(Exif(1));
  webp[20] |= 2;  // VP8X: the animation flag
  EXPECT_FALSE(Decode(webp).ok());
}

}  // namespace
}  // namespace skipstream
