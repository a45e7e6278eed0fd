#ifndef SKIPSTREAM_MODEL_EXTENT_H_
#define SKIPSTREAM_MODEL_EXTENT_H_

#include <cstdint>

#ifdef __CUDACC__
#define SKIPSTREAM_HOST_DEVICE __host__ __device__
#else
#define SKIPSTREAM_HOST_DEVICE
#endif

namespace skipstream {

// Gives the shape [C, H, W] of what a slot holds: an image, or later a latent.
struct Extent {
  int channels = 0;
  int height = 0;
  int width = 0;

  SKIPSTREAM_HOST_DEVICE int pixels() const { return height * width; }
  SKIPSTREAM_HOST_DEVICE int64_t elements() const { return int64_t{channels} * pixels(); }
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXTENT_H_
