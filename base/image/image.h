#ifndef SKIPSTREAM_BASE_IMAGE_IMAGE_H_
#define SKIPSTREAM_BASE_IMAGE_IMAGE_H_

#include <cstdint>
#include <vector>

namespace skipstream {

// Holds 8-bit pixels, row-major, channels interleaved [H, W, C]; a value v in [-1, 1] of a sample
// is round(v * 127.5 + 127.5) clamped to 0..255.
struct Image {
  int height = 0;
  int width = 0;
  int channels = 0;
  std::vector<uint8_t> data;
};

// Holds an image that a sample starts from, shaped like the network's images.
struct InitImage {
  std::vector<float> pixels;  // [C, H, W], -1 to 1
  // [H, W]: 1 where the image is made anew, 0 where it stays, or between (inpainting). Empty:
  // everything is made anew.
  std::vector<float> mask;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_IMAGE_IMAGE_H_
