// Files to pixels.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_IMAGE_DECODER_H_
#define SKIPSTREAM_SERVER_TRANSPORT_IMAGE_DECODER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/step_executor.h"

namespace skipstream {

// What a picture becomes.
struct PictureShape {
  int height = 0;
  int width = 0;
  int channels = 0;  // 1 (grey) or 3 (RGB)
};

// Decodes a PNG or WebP file, which its first bytes tell, or takes `data` as raw 8-bit values
// [height, width, channels], also where they begin like a file but are none. A file's picture has
// the size of `shape`, or a whole multiple of it up to `max_scale` times, which is averaged down.
// An EXIF orientation is applied; `shape` is the one after that. Animations are refused.
// Colour becomes luma (Rec. 601) where `shape` is grey, grey is repeated where it is RGB; 16-bit
// samples are rounded; alpha, gamma and colour profiles are ignored, and so is what comes behind
// the end of a PNG. For hostile files: nothing is allocated before the size is known to be valid,
// and then in proportion to it. InvalidArgument says what `data` must be.
absl::StatusOr<Pixels> DecodePicture(absl::string_view data, const PictureShape& shape,
                                     int max_scale);

// The planes of a decoded picture and, unless null, of a mask (one channel, the same size; 255
// becomes 1).
GivenImage MakeGivenImage(const Pixels& picture, const Pixels* mask);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_IMAGE_DECODER_H_
