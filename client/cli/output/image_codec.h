// Decodes images in memory and the formats that the server sends, and encodes PNG.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_IMAGE_CODEC_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_IMAGE_CODEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::cli {

// Holds 8-bit RGB, row-major, [height, width, 3].
struct Bitmap {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;

  bool empty() const { return width == 0; }
  uint8_t* at(int x, int y) { return &rgb[(static_cast<size_t>(y) * width + x) * 3]; }
  const uint8_t* at(int x, int y) const { return &rgb[(static_cast<size_t>(y) * width + x) * 3]; }
};

// Decodes PNG, WebP or raw; grey becomes RGB. DataLoss for data that does not match its
// description.
absl::StatusOr<Bitmap> DecodeImage(const v1::EncodedImage& image);

absl::StatusOr<std::string> EncodePng(const Bitmap& bitmap);

// Returns the text chunk called `keyword`. NotFound if the PNG has none.
absl::StatusOr<std::string> ReadPngText(absl::string_view png, absl::string_view keyword);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_IMAGE_CODEC_H_
