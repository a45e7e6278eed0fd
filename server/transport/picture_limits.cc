#include "server/transport/picture_limits.h"

#include <algorithm>

namespace skipstream {
namespace {

// Everything in a finished image's event but pictures: levels, rho, the overhead of a PNG.
constexpr int64_t kMessageOverhead = 128 << 10;

// An input image in an event: as it is, and as base64 in a PNG's text.
int64_t CarriedBytes(int64_t given_bytes) { return given_bytes + (given_bytes + 2) / 3 * 4; }

bool Fits(int64_t picture_bytes, int64_t given_bytes) {
  return picture_bytes <= kMaxPictureBytes &&
         picture_bytes + CarriedBytes(given_bytes) + kMessageOverhead <= kClientMessageBytes;
}

}  // namespace

int64_t MaskBytes(const NetworkInfo& model) { return int64_t{model.width} * model.height; }

int64_t PictureBytes(const NetworkInfo& model) { return MaskBytes(model) * model.channels; }

int MaxScale(const NetworkInfo& model, const RequestLimits& limits, int64_t given_bytes) {
  int scale = 1;
  while (scale < limits.max_scale &&
         Fits(PictureBytes(model) * (scale + 1) * (scale + 1), given_bytes)) {
    ++scale;
  }
  return scale;
}

int64_t MaxCountWithPicture(int64_t given_bytes) {
  return std::max<int64_t>(1, kMaxRepeatedBytes / CarriedBytes(given_bytes));
}

bool FitsIntoMessage(const NetworkInfo& model, int64_t given_bytes) {
  return Fits(PictureBytes(model), given_bytes);
}

}  // namespace skipstream
