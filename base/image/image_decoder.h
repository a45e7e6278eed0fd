// Files to pixels.
#ifndef SKIPSTREAM_BASE_IMAGE_IMAGE_DECODER_H_
#define SKIPSTREAM_BASE_IMAGE_IMAGE_DECODER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/image/image.h"

namespace skipstream {

// What an image becomes.
struct ImageShape {
  int height = 0;
  int width = 0;
  int channels = 0;  // 1 (grey) or 3 (RGB)
};

// Decodes a PNG or WebP file, which its first bytes tell, or takes `data` as raw 8-bit values
// [height, width, channels], also where they begin like a file but are none. A file's image has
// the size of `shape`, or a whole multiple of it up to `max_scale` times, which is averaged down.
// An EXIF orientation is applied; `shape` is the one after that. Animations are refused.
// Colour becomes luma (Rec. 601) where `shape` is grey, grey is repeated where it is RGB; 16-bit
// samples are rounded; alpha, gamma and colour profiles are ignored, and so is what comes behind
// the end of a PNG. For hostile files: nothing is allocated before the size is known to be valid,
// and then in proportion to it. InvalidArgument says what `data` must be.
absl::StatusOr<Image> DecodeImage(absl::string_view data, const ImageShape& shape, int max_scale);

// The planes of a decoded image and, unless null, of a mask (one channel, the same size; 255
// becomes 1).
InitImage MakeInitImage(const Image& image, const Image* mask);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_IMAGE_IMAGE_DECODER_H_
