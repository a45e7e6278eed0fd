#include "base/image/image_decoder.h"

#include <spng.h>
#include <webp/decode.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/image/image_container.h"

namespace skipstream {
namespace {

constexpr absl::string_view kPngSignature("\x89PNG\r\n\x1a\n", 8);
// The IEND chunk, always the same.
constexpr absl::string_view kPngEnd("\0\0\0\0IEND\xAE\x42\x60\x82", 12);
// Limits the bytes that a PNG's chunks beside its pixels take, unpacked. Images of this server
// carry their request in such a chunk; the longest request is shorter.
constexpr size_t kMaxChunkBytes = size_t{8} << 20;

struct SpngDeleter {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};

bool IsWebp(absl::string_view data) {
  return absl::StartsWith(data, "RIFF") && data.size() >= 12 && data.substr(8, 4) == "WEBP";
}

// Returns true if the file is complete. The decoder would accept a file that lacks its last bytes.
bool IsWholeWebp(absl::string_view data) {
  uint64_t size = 8;  // the field counts what comes behind it
  for (size_t i = 0; i < 4; ++i) {
    size += uint64_t{static_cast<uint8_t>(data[4 + i])} << (8 * i);
  }
  return data.size() >= size;
}

// Describes a file's pixels: `scale` times as many each way as `shape` has.
struct Layout {
  ImageShape shape;
  int scale = 1;
};

bool IsTurned(int orientation) { return orientation >= 5; }

// The layout of a file of this size that becomes `shape` when it is upright. InvalidArgument unless
// the upright image is the same whole number of times larger both ways.
absl::StatusOr<Layout> LayoutOf(int64_t width, int64_t height, int orientation,
                                const ImageShape& shape, int max_scale) {
  if (IsTurned(orientation)) std::swap(width, height);
  const int64_t scale = width / shape.width;
  if (scale < 1 || scale > max_scale || width != scale * shape.width ||
      height != scale * shape.height) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must have ", shape.width, "x", shape.height, " pixels or a whole multiple of that, up to ",
        max_scale, " times, got ", width, "x", height,
        IsTurned(orientation) ? " after its EXIF orientation" : ""));
  }
  Layout layout = {.shape = shape, .scale = static_cast<int>(scale)};
  if (IsTurned(orientation)) std::swap(layout.shape.width, layout.shape.height);
  return layout;
}

// Applies an EXIF orientation (1 to 8).
Image Upright(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const bool mirrors_columns =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirrors_rows =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright = {
      .height = stored.height, .width = stored.width, .channels = stored.channels, .data = {}};
  if (IsTurned(orientation)) std::swap(upright.width, upright.height);
  upright.data.reserve(stored.data.size());
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      int column = IsTurned(orientation) ? y : x;
      int row = IsTurned(orientation) ? x : y;
      if (mirrors_columns) column = stored.width - 1 - column;
      if (mirrors_rows) row = stored.height - 1 - row;
      const auto pixel =
          stored.data.begin() +
          (static_cast<std::ptrdiff_t>(row) * stored.width + column) * stored.channels;
      upright.data.insert(upright.data.end(), pixel, pixel + stored.channels);
    }
  }
  return upright;
}

absl::Status PngError(int error) {
  return absl::InvalidArgumentError(
      absl::StrCat("must be a valid PNG file, got a broken one: ", spng_strerror(error)));
}

// Averages blocks of scale x scale pixels. `samples` holds rows of pixels of `stride` values from 0
// to `max`, the first three of which are red, green and blue.
template <typename Sample>
Image Averaged(const std::vector<Sample>& samples, size_t stride, int64_t max, int scale,
               const ImageShape& shape) {
  constexpr std::array<int64_t, 3> kLuma = {299, 587, 114};  // thousandths, Rec. 601
  Image pixels = {
      .height = shape.height, .width = shape.width, .channels = shape.channels, .data = {}};
  pixels.data.reserve(static_cast<size_t>(shape.height) * shape.width * shape.channels);
  const size_t row = static_cast<size_t>(shape.width) * scale * stride;
  const int64_t area = int64_t{scale} * scale;
  const auto push = [&](int64_t sum, int64_t full) {
    pixels.data.push_back(static_cast<uint8_t>((2 * sum * 255 + full) / (2 * full)));
  };
  for (int y = 0; y < shape.height; ++y) {
    for (int x = 0; x < shape.width; ++x) {
      std::array<int64_t, 3> sums = {};
      for (int dy = 0; dy < scale; ++dy) {
        const Sample* sample = samples.data() + (static_cast<size_t>(y) * scale + dy) * row +
                               static_cast<size_t>(x) * scale * stride;
        for (int dx = 0; dx < scale; ++dx, sample += stride) {
          for (size_t c = 0; c < 3; ++c) sums[c] += sample[c];
        }
      }
      if (shape.channels == 1) {
        push(kLuma[0] * sums[0] + kLuma[1] * sums[1] + kLuma[2] * sums[2], 1000 * area * max);
      } else {
        for (const int64_t sum : sums) push(sum, area * max);
      }
    }
  }
  return pixels;
}

template <typename Sample>
absl::StatusOr<Image> DecodePngAs(spng_ctx* context, int format, size_t stride, int64_t max,
                                  const Layout& layout) {
  const auto& [shape, scale] = layout;
  const size_t count =
      static_cast<size_t>(shape.width) * scale * (static_cast<size_t>(shape.height) * scale);
  size_t bytes = 0;
  if (int error = spng_decoded_image_size(context, format, &bytes)) return PngError(error);
  if (bytes != count * stride * sizeof(Sample)) return PngError(SPNG_EOVERFLOW);
  std::vector<Sample> samples(count * stride);
  if (int error = spng_decode_image(context, samples.data(), bytes, format, 0)) {
    return PngError(error);
  }
  // The chunks after the pixels have to be valid as well.
  if (int error = spng_decode_chunks(context)) return PngError(error);
  return Averaged(samples, stride, max, scale, shape);
}

absl::StatusOr<Image> DecodePng(absl::string_view data, const ImageShape& shape, int max_scale) {
  const std::unique_ptr<spng_ctx, SpngDeleter> context(spng_ctx_new(0));
  if (context == nullptr) return absl::ResourceExhaustedError("PNG decoder: out of memory");
  if (int error = spng_set_chunk_limits(context.get(), kMaxChunkBytes, kMaxChunkBytes)) {
    return PngError(error);
  }
  if (int error = spng_set_png_buffer(context.get(), data.data(), data.size())) {
    return PngError(error);
  }
  // The decoder does without the last bytes.
  if (!absl::StrContains(data, kPngEnd)) return PngError(SPNG_EIO);
  // Reads no more than the header.
  spng_ihdr header = {};
  if (int error = spng_get_ihdr(context.get(), &header)) return PngError(error);
  if (FindPngChunk(data, "acTL")) {
    return absl::InvalidArgumentError("must be a single image, got an animated PNG file");
  }
  const int orientation = ExifOrientation(FindPngChunk(data, "eXIf").value_or(""));
  const absl::StatusOr<Layout> layout =
      LayoutOf(header.width, header.height, orientation, shape, max_scale);
  if (!layout.ok()) return layout.status();
  absl::StatusOr<Image> pixels =
      header.bit_depth == 16
          ? DecodePngAs<uint16_t>(context.get(), SPNG_FMT_RGBA16, 4, 65535, *layout)
          : DecodePngAs<uint8_t>(context.get(), SPNG_FMT_RGB8, 3, 255, *layout);
  if (!pixels.ok()) return pixels;
  return Upright(*std::move(pixels), orientation);
}

absl::StatusOr<Image> DecodeWebp(absl::string_view data, const ImageShape& shape, int max_scale) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  absl::Status broken = absl::InvalidArgumentError("must be a valid WebP file, got a broken one");
  if (!IsWholeWebp(data)) return broken;
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes, data.size(), &features) != VP8_STATUS_OK) return broken;
  if (features.has_animation != 0) {
    return absl::InvalidArgumentError("must be a single image, got an animated WebP file");
  }
  const int orientation = ExifOrientation(FindWebpChunk(data, "EXIF").value_or(""));
  const absl::StatusOr<Layout> layout =
      LayoutOf(features.width, features.height, orientation, shape, max_scale);
  if (!layout.ok()) return layout.status();
  std::vector<uint8_t> samples(static_cast<size_t>(features.width) * features.height * 3);
  if (WebPDecodeRGBInto(bytes, data.size(), samples.data(), samples.size(), features.width * 3) ==
      nullptr) {
    return broken;
  }
  return Upright(Averaged(samples, 3, 255, layout->scale, layout->shape), orientation);
}

}  // namespace

absl::StatusOr<Image> DecodeImage(absl::string_view data, const ImageShape& shape, int max_scale) {
  const size_t bytes = static_cast<size_t>(shape.height) * shape.width * shape.channels;
  if (absl::StartsWith(data, kPngSignature) || IsWebp(data)) {
    absl::StatusOr<Image> pixels =
        IsWebp(data) ? DecodeWebp(data, shape, max_scale) : DecodePng(data, shape, max_scale);
    // Raw values may begin like a file.
    if (pixels.ok() || data.size() != bytes) return pixels;
  }
  if (data.size() != bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must be a PNG or WebP file, or ", bytes, " raw values (", shape.height, " rows of ",
        shape.width, " pixels of ", shape.channels, shape.channels == 1 ? " channel" : " channels",
        "), got ", data.size(), " bytes that are neither"));
  }
  return Image{.height = shape.height,
               .width = shape.width,
               .channels = shape.channels,
               .data = {data.begin(), data.end()}};
}

InitImage MakeInitImage(const Image& image, const Image* mask) {
  const size_t plane = static_cast<size_t>(image.height) * image.width;
  const auto channels = static_cast<size_t>(image.channels);
  InitImage init;
  init.pixels.resize(plane * channels);
  for (size_t i = 0; i < plane; ++i) {
    for (size_t c = 0; c < channels; ++c) {
      init.pixels[c * plane + i] = static_cast<float>(image.data[i * channels + c]) / 127.5f - 1;
    }
  }
  if (mask != nullptr) {
    init.mask.reserve(plane);
    for (const uint8_t value : mask->data) {
      init.mask.push_back(static_cast<float>(value) / 255.0f);
    }
  }
  return init;
}

}  // namespace skipstream
