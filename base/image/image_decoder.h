// Decodes image files into pixels.
#ifndef SKIPSTREAM_BASE_IMAGE_IMAGE_DECODER_H_
#define SKIPSTREAM_BASE_IMAGE_IMAGE_DECODER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/image/image.h"

namespace skipstream {

// Describes the image that a file is decoded into.
struct ImageShape {
  int height = 0;
  int width = 0;
  int channels = 0;  // 1 (grey) or 3 (RGB)
};

// Decodes a PNG or WebP file, recognized by its first bytes, or takes `data` as raw 8-bit values
// [height, width, channels]. Raw data may begin like a file without being one. A file's image has
// the size of `shape`, or a whole multiple of it up to `max_scale` times, which is averaged down.
// An EXIF orientation is applied; `shape` is the one after that. Animations are refused. Colour
// becomes luma (Rec. 601) where `shape` is grey; grey is repeated where it is RGB. 16-bit samples
// are rounded. Alpha, gamma and colour profiles are ignored, and so is everything after the end of
// a PNG. Hostile files are safe: nothing is allocated before the size is known to be valid, and
// then in proportion to it. InvalidArgument says what `data` must be.
absl::StatusOr<Image> DecodeImage(absl::string_view data, const ImageShape& shape, int max_scale);

// Returns the planes of a decoded image and, unless `mask` is null, of a mask (one channel, the
// same size; 255 becomes 1).
InitImage MakeInitImage(const Image& image, const Image* mask);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_IMAGE_IMAGE_DECODER_H_
