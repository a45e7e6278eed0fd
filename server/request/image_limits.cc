#include "server/request/image_limits.h"

#include <algorithm>

namespace skipstream {
namespace {

// Everything in a finished image's event but images: levels, rho, the overhead of a PNG.
constexpr int64_t kMessageOverhead = 128 << 10;

// Returns the bytes that an init image takes in an event: raw, and as base64 in a PNG's text.
int64_t CarriedBytes(int64_t init_image_bytes) {
  return init_image_bytes + (init_image_bytes + 2) / 3 * 4;
}

bool Fits(int64_t image_bytes, int64_t init_image_bytes) {
  return image_bytes <= kMaxImageBytes &&
         image_bytes + CarriedBytes(init_image_bytes) + kMessageOverhead <= kClientMessageBytes;
}

}  // namespace

int64_t MaskBytes(const NetworkInfo& model) { return int64_t{model.width} * model.height; }

int64_t ImageBytes(const NetworkInfo& model) { return MaskBytes(model) * model.channels; }

int MaxScale(const NetworkInfo& model, const RequestLimits& limits, int64_t init_image_bytes) {
  int scale = 1;
  while (scale < limits.max_scale &&
         Fits(ImageBytes(model) * (scale + 1) * (scale + 1), init_image_bytes)) {
    ++scale;
  }
  return scale;
}

int64_t MaxCountWithInitImage(int64_t init_image_bytes) {
  return std::max<int64_t>(1, kMaxRepeatedBytes / CarriedBytes(init_image_bytes));
}

bool FitsIntoMessage(const NetworkInfo& model, int64_t init_image_bytes) {
  return Fits(ImageBytes(model), init_image_bytes);
}

}  // namespace skipstream
