// Encodes images as PNG and WebP files.
#ifndef SKIPSTREAM_BASE_IMAGE_IMAGE_ENCODER_H_
#define SKIPSTREAM_BASE_IMAGE_IMAGE_ENCODER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/image/image.h"

namespace skipstream {

enum class ImageFormat { kPng, kWebp, kRaw };

// Returns the lower-case name that logs and metrics use.
const char* ImageFormatName(ImageFormat format);

// Holds a tEXt chunk of a PNG: Latin-1, the key 1 to 79 bytes.
struct PngText {
  std::string key;
  std::string text;
};

struct EncodedImage {
  ImageFormat format = ImageFormat::kPng;
  int width = 0;
  int height = 0;
  int channels = 0;  // 1 or 3; WebP always holds 3
  std::string data;
};

// Enlarges `pixels`, 1 (grey) or 3 (RGB) channels, by the whole factor `scale` >= 1 (nearest
// neighbour) and encodes them without loss. The same arguments give the same bytes. `texts` go into
// a PNG; the other formats have no place for them. InvalidArgument if the format cannot hold the
// image.
absl::StatusOr<EncodedImage> EncodeImage(const Image& pixels, ImageFormat format, int scale,
                                         const std::vector<PngText>& texts);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_IMAGE_IMAGE_ENCODER_H_
