#include "base/image/image_container.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace skipstream {
namespace {

constexpr size_t kSignatureBytes = 8;    // of a PNG
constexpr size_t kRiffHeaderBytes = 12;  // "RIFF", size, "WEBP"

// `bytes` has `size` bytes from `at` on.
uint32_t Number(absl::string_view bytes, size_t at, size_t size, bool little_endian) {
  uint32_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    const size_t place = little_endian ? at + size - 1 - i : at + i;
    value = value << 8 | static_cast<uint8_t>(bytes[place]);
  }
  return value;
}

}  // namespace

std::optional<absl::string_view> FindPngChunk(absl::string_view png, absl::string_view type) {
  constexpr size_t kOverhead = 12;  // length, type, checksum
  png.remove_prefix(std::min(png.size(), kSignatureBytes));
  while (png.size() >= kOverhead) {
    const size_t length = Number(png, 0, 4, /*little_endian=*/false);
    const absl::string_view chunk_type = png.substr(4, 4);
    if (length > png.size() - kOverhead) break;
    if (chunk_type == type) return png.substr(8, length);
    if (chunk_type == "IEND") break;
    png.remove_prefix(kOverhead + length);
  }
  return std::nullopt;
}

std::optional<absl::string_view> FindWebpChunk(absl::string_view webp, absl::string_view type) {
  constexpr size_t kOverhead = 8;  // type, length
  webp.remove_prefix(std::min(webp.size(), kRiffHeaderBytes));
  while (webp.size() >= kOverhead) {
    const size_t length = Number(webp, 4, 4, /*little_endian=*/true);
    if (length > webp.size() - kOverhead) break;
    if (absl::StartsWith(webp, type)) return webp.substr(kOverhead, length);
    const size_t padded = length + length % 2;
    webp.remove_prefix(std::min(webp.size(), kOverhead + padded));
  }
  return std::nullopt;
}

int ExifOrientation(absl::string_view exif) {
  constexpr int kUpright = 1;
  constexpr size_t kTiffHeaderBytes = 8;  // byte order, 42, offset of the first directory
  constexpr size_t kEntryBytes = 12;      // tag, type, count, value
  constexpr uint32_t kOrientationTag = 0x0112;
  constexpr uint32_t kShortType = 3;

  absl::ConsumePrefix(&exif, absl::string_view("Exif\0\0", 6));
  const bool little_endian = absl::StartsWith(exif, absl::string_view("II*\0", 4));
  const bool big_endian = absl::StartsWith(exif, absl::string_view("MM\0*", 4));
  if (exif.size() < kTiffHeaderBytes || !(little_endian || big_endian)) return kUpright;
  const auto number = [&](size_t at, size_t size) { return Number(exif, at, size, little_endian); };

  const size_t directory = number(4, 4);
  if (directory > exif.size() - 2) return kUpright;
  const size_t entries = number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > exif.size()) return kUpright;
    if (number(entry, 2) != kOrientationTag) continue;
    const uint32_t orientation = number(entry + 8, 2);
    const bool is_valid = number(entry + 2, 2) == kShortType && number(entry + 4, 4) == 1 &&
                          orientation >= 1 && orientation <= 8;
    return is_valid ? static_cast<int>(orientation) : kUpright;
  }
  return kUpright;
}

}  // namespace skipstream
