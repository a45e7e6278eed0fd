// Chunks of PNG and WebP files, and what EXIF data says. For hostile files: reads nothing outside
// of what it is given.
#ifndef SKIPSTREAM_BASE_IMAGE_IMAGE_CONTAINER_H_
#define SKIPSTREAM_BASE_IMAGE_IMAGE_CONTAINER_H_

#include <optional>

#include "absl/strings/string_view.h"

namespace skipstream {

// Finds the data of the first chunk of this type (4 bytes). Nothing if there is none before the end
// of the file, or before the first chunk that the file does not hold completely. The file begins
// with a PNG signature.
std::optional<absl::string_view> FindPngChunk(absl::string_view png, absl::string_view type);

// The same for a WebP file, which begins with a RIFF header of 12 bytes.
std::optional<absl::string_view> FindWebpChunk(absl::string_view webp, absl::string_view type);

// Reads the orientation tag (0x0112) of EXIF data, with or without "Exif\0\0" before the TIFF
// header: 1 to 8. Gives 1, upright, if there is no such tag or the data is malformed.
int ExifOrientation(absl::string_view exif);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_IMAGE_IMAGE_CONTAINER_H_
