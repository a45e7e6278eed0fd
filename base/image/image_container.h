// Finds chunks in PNG and WebP files and reads the orientation in EXIF data. Hostile files are
// safe: nothing outside of the given bytes is read.
#ifndef SKIPSTREAM_BASE_IMAGE_IMAGE_CONTAINER_H_
#define SKIPSTREAM_BASE_IMAGE_IMAGE_CONTAINER_H_

#include <optional>

#include "absl/strings/string_view.h"

namespace skipstream {

// Returns the data of the first chunk of this type (4 bytes), or nothing if no such chunk is
// complete before the end of the file. The search ends at the first incomplete chunk. `png` begins
// with a PNG signature.
std::optional<absl::string_view> FindPngChunk(absl::string_view png, absl::string_view type);

// Does the same for a WebP file, which begins with a RIFF header of 12 bytes.
std::optional<absl::string_view> FindWebpChunk(absl::string_view webp, absl::string_view type);

// Returns the orientation (tag 0x0112) of EXIF data, 1 to 8, with or without "Exif\0\0" before the
// TIFF header. Returns 1, upright, if there is no such tag or the data is malformed.
int ExifOrientation(absl::string_view exif);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_IMAGE_IMAGE_CONTAINER_H_
