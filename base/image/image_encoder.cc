#include "base/image/image_encoder.h"

#include <spng.h>
#include <webp/encode.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

struct SpngDeleter {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
struct WebpDeleter {
  void operator()(uint8_t* memory) const { WebPFree(memory); }
};

Image Enlarged(const Image& pixels, int scale) {
  if (scale == 1) return pixels;
  Image large = {.height = pixels.height * scale,
                 .width = pixels.width * scale,
                 .channels = pixels.channels,
                 .data = {}};
  const size_t row_bytes = static_cast<size_t>(large.width) * large.channels;
  large.data.reserve(row_bytes * large.height);
  for (int y = 0; y < pixels.height; ++y) {
    const auto row = static_cast<std::ptrdiff_t>(large.data.size());
    const uint8_t* source =
        pixels.data.data() + static_cast<size_t>(y) * pixels.width * pixels.channels;
    for (int x = 0; x < pixels.width; ++x, source += pixels.channels) {
      for (int i = 0; i < scale; ++i) {
        large.data.insert(large.data.end(), source, source + pixels.channels);
      }
    }
    for (int i = 1; i < scale; ++i) {
      // Within the reserved storage: the source stays valid.
      large.data.insert(large.data.end(), large.data.begin() + row,
                        large.data.begin() + row + static_cast<std::ptrdiff_t>(row_bytes));
    }
  }
  return large;
}

absl::Status SpngError(const char* what, int error) {
  return absl::InternalError(absl::StrCat("PNG encoder: ", what, ": ", spng_strerror(error)));
}

absl::StatusOr<std::string> EncodePng(const Image& pixels, const std::vector<PngText>& texts) {
  const std::unique_ptr<spng_ctx, SpngDeleter> context(spng_ctx_new(SPNG_CTX_ENCODER));
  if (context == nullptr) return absl::ResourceExhaustedError("PNG encoder: out of memory");
  if (int error = spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1)) {
    return SpngError("option", error);
  }
  spng_ihdr header = {};
  header.width = static_cast<uint32_t>(pixels.width);
  header.height = static_cast<uint32_t>(pixels.height);
  header.bit_depth = 8;
  header.color_type = static_cast<uint8_t>(pixels.channels == 1 ? SPNG_COLOR_TYPE_GRAYSCALE
                                                                : SPNG_COLOR_TYPE_TRUECOLOR);
  if (int error = spng_set_ihdr(context.get(), &header)) return SpngError("header", error);

  std::vector<spng_text> chunks;
  for (const PngText& text : texts) {
    spng_text& chunk = chunks.emplace_back();
    chunk.type = SPNG_TEXT;
    std::strncpy(chunk.keyword, text.key.c_str(), sizeof(chunk.keyword) - 1);
    chunk.text = const_cast<char*>(text.text.c_str());  // spng only reads it
    chunk.length = text.text.size();
  }
  if (!chunks.empty()) {
    if (int error =
            spng_set_text(context.get(), chunks.data(), static_cast<uint32_t>(chunks.size()))) {
      return SpngError("text", error);
    }
  }
  if (int error = spng_encode_image(context.get(), pixels.data.data(), pixels.data.size(),
                                    SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE)) {
    return SpngError("image", error);
  }
  size_t size = 0;
  int error = 0;
  const std::unique_ptr<void, FreeDeleter> buffer(
      spng_get_png_buffer(context.get(), &size, &error));
  if (buffer == nullptr) return SpngError("buffer", error);
  return std::string(static_cast<const char*>(buffer.get()), size);
}

Image AsRgb(const Image& grey) {
  Image rgb = {.height = grey.height, .width = grey.width, .channels = 3, .data = {}};
  rgb.data.reserve(grey.data.size() * 3);
  for (uint8_t value : grey.data) rgb.data.insert(rgb.data.end(), 3, value);
  return rgb;
}

absl::StatusOr<std::string> EncodeWebp(const Image& rgb) {
  if (rgb.width > WEBP_MAX_DIMENSION || rgb.height > WEBP_MAX_DIMENSION) {
    return absl::InvalidArgumentError(absl::StrCat("WebP holds at most ", WEBP_MAX_DIMENSION,
                                                   " pixels a side, got ", rgb.width, "x",
                                                   rgb.height));
  }
  uint8_t* output = nullptr;
  const size_t size =
      WebPEncodeLosslessRGB(rgb.data.data(), rgb.width, rgb.height, rgb.width * 3, &output);
  const std::unique_ptr<uint8_t, WebpDeleter> owned(output);
  if (size == 0) return absl::ResourceExhaustedError("WebP encoder: out of memory");
  return std::string(reinterpret_cast<const char*>(output), size);
}

}  // namespace

const char* ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kPng:
      return "png";
    case ImageFormat::kWebp:
      return "webp";
    case ImageFormat::kRaw:
      return "raw";
  }
  return "";
}

absl::StatusOr<EncodedImage> EncodeImage(const Image& pixels, ImageFormat format, int scale,
                                         const std::vector<PngText>& texts) {
  if (pixels.channels != 1 && pixels.channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("a picture has 1 or 3 channels, got ", pixels.channels));
  }
  Image large = Enlarged(pixels, scale);
  if (format == ImageFormat::kWebp && large.channels == 1) large = AsRgb(large);
  EncodedImage image = {.format = format,
                        .width = large.width,
                        .height = large.height,
                        .channels = large.channels,
                        .data = {}};
  absl::StatusOr<std::string> data;
  switch (format) {
    case ImageFormat::kPng:
      data = EncodePng(large, texts);
      break;
    case ImageFormat::kWebp:
      data = EncodeWebp(large);
      break;
    case ImageFormat::kRaw:
      data = std::string(large.data.begin(), large.data.end());
      break;
  }
  if (!data.ok()) return data.status();
  image.data = *std::move(data);
  return image;
}

}  // namespace skipstream
