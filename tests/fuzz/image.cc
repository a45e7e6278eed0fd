// Any bytes as a given image, PNG, WebP or neither: refused in words, or of the shape that was
// asked for. The first byte says which shape.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "base/image/image_decoder.h"

namespace skipstream {
namespace {

constexpr int kMaxScale = 4;
constexpr ImageShape kShapes[] = {
    {.height = 4, .width = 4, .channels = 3},
    {.height = 4, .width = 8, .channels = 1},
    {.height = 32, .width = 32, .channels = 3},
    {.height = 1, .width = 1, .channels = 1},
};

void DecodeAnything(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const ImageShape& shape = kShapes[data[0] % 4];
  const absl::StatusOr<Image> pixels = DecodeImage(
      absl::string_view(reinterpret_cast<const char*>(data + 1), size - 1), shape, kMaxScale);
  if (!pixels.ok()) {
    if (pixels.status().message().empty()) std::abort();
    return;
  }
  if (pixels->height != shape.height || pixels->width != shape.width ||
      pixels->channels != shape.channels ||
      pixels->data.size() != static_cast<size_t>(shape.height) * shape.width * shape.channels) {
    std::abort();
  }
  MakeInitImage(*pixels, nullptr);
}

}  // namespace
}  // namespace skipstream

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skipstream::DecodeAnything(data, size);
  return 0;
}
