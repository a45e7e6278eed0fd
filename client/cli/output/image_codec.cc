#include "client/cli/output/image_codec.h"

#include <spng.h>
#include <webp/decode.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace skipstream::cli {
namespace {

constexpr uint32_t kMaxSide = 1 << 15;
// The most that a text chunk may unpack to, and all together: the server reads as much.
constexpr size_t kMaxChunkBytes = 8 << 20;
constexpr size_t kMaxBitmapBytes = 256 << 20;

using SpngContext = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

absl::Status PngError(int error) {
  return absl::DataLossError(absl::StrCat("not a readable PNG: ", spng_strerror(error)));
}

// A PNG or WebP of some bytes may unpack to gigabytes.
absl::Status CheckSize(size_t width, size_t height) {
  if (height == 0 || width <= kMaxBitmapBytes / 3 / height) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("an image of ", width, "x", height, " pixels is too large"));
}

// Decodes all of `png`; afterwards `context` also knows the text chunks.
absl::StatusOr<Bitmap> DecodePng(spng_ctx* context, absl::string_view png) {
  if (int error = spng_set_image_limits(context, kMaxSide, kMaxSide)) return PngError(error);
  if (int error = spng_set_chunk_limits(context, kMaxChunkBytes, kMaxChunkBytes)) {
    return PngError(error);
  }
  if (int error = spng_set_png_buffer(context, png.data(), png.size())) return PngError(error);
  spng_ihdr header;
  if (int error = spng_get_ihdr(context, &header)) return PngError(error);
  if (absl::Status status = CheckSize(header.width, header.height); !status.ok()) return status;
  size_t size;
  if (int error = spng_decoded_image_size(context, SPNG_FMT_RGB8, &size)) return PngError(error);
  Bitmap bitmap{static_cast<int>(header.width), static_cast<int>(header.height),
                std::vector<uint8_t>(size)};
  if (int error = spng_decode_image(context, bitmap.rgb.data(), size, SPNG_FMT_RGB8, 0)) {
    return PngError(error);
  }
  if (int error = spng_decode_chunks(context)) return PngError(error);
  return bitmap;
}

absl::StatusOr<Bitmap> DecodeWebp(absl::string_view webp) {
  const auto* data = reinterpret_cast<const uint8_t*>(webp.data());
  Bitmap bitmap;
  if (!WebPGetInfo(data, webp.size(), &bitmap.width, &bitmap.height)) {
    return absl::DataLossError("not a readable WebP file");
  }
  if (absl::Status status = CheckSize(bitmap.width, bitmap.height); !status.ok()) return status;
  bitmap.rgb.resize(static_cast<size_t>(bitmap.width) * bitmap.height * 3);
  if (!WebPDecodeRGBInto(data, webp.size(), bitmap.rgb.data(), bitmap.rgb.size(),
                         bitmap.width * 3)) {
    return absl::DataLossError("not a readable WebP file");
  }
  return bitmap;
}

absl::StatusOr<Bitmap> DecodeRaw(const v1::EncodedImage& image) {
  const size_t pixels = static_cast<size_t>(image.width()) * image.height();
  const bool plausible = image.width() > 0 && image.height() > 0 &&
                         (image.channels() == 1 || image.channels() == 3) &&
                         image.data().size() == pixels * image.channels();
  if (!plausible) {
    return absl::DataLossError(absl::StrCat(image.data().size(), " bytes are not an image of ",
                                            image.width(), "x", image.height(), "x",
                                            image.channels()));
  }
  Bitmap bitmap{image.width(), image.height(), std::vector<uint8_t>(pixels * 3)};
  for (size_t i = 0; i < pixels; ++i) {
    for (int c = 0; c < 3; ++c) {
      const size_t from = image.channels() == 3 ? i * 3 + c : i;
      bitmap.rgb[i * 3 + c] = static_cast<uint8_t>(image.data()[from]);
    }
  }
  return bitmap;
}

}  // namespace

absl::StatusOr<Bitmap> DecodeImage(const v1::EncodedImage& image) {
  switch (image.format()) {
    case v1::IMAGE_FORMAT_WEBP:
      return DecodeWebp(image.data());
    case v1::IMAGE_FORMAT_RAW:
      return DecodeRaw(image);
    default: {
      const SpngContext context(spng_ctx_new(0), spng_ctx_free);
      return DecodePng(context.get(), image.data());
    }
  }
}

absl::StatusOr<std::string> EncodePng(const Bitmap& bitmap) {
  const SpngContext context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(bitmap.width);
  header.height = static_cast<uint32_t>(bitmap.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  int error = spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  if (!error) error = spng_set_ihdr(context.get(), &header);
  if (!error) {
    error = spng_encode_image(context.get(), bitmap.rgb.data(), bitmap.rgb.size(), SPNG_FMT_PNG,
                              SPNG_ENCODE_FINALIZE);
  }
  size_t size = 0;
  std::unique_ptr<void, decltype(&std::free)> png(nullptr, std::free);
  if (!error) png.reset(spng_get_png_buffer(context.get(), &size, &error));
  if (error) {
    return absl::InternalError(absl::StrCat("cannot encode a PNG: ", spng_strerror(error)));
  }
  return std::string(static_cast<const char*>(png.get()), size);
}

absl::StatusOr<std::string> ReadPngText(absl::string_view png, absl::string_view keyword) {
  const SpngContext context(spng_ctx_new(0), spng_ctx_free);
  const absl::StatusOr<Bitmap> bitmap = DecodePng(context.get(), png);
  if (!bitmap.ok()) return bitmap.status();
  uint32_t count = 0;
  int error = spng_get_text(context.get(), nullptr, &count);
  std::vector<spng_text> texts(count);
  if (!error) error = spng_get_text(context.get(), texts.data(), &count);
  if (error && error != SPNG_ECHUNKAVAIL) return PngError(error);
  for (const spng_text& text : texts) {
    if (keyword == text.keyword) return std::string(text.text, text.length);
  }
  return absl::NotFoundError(absl::StrCat("the PNG has no text chunk '", keyword, "'"));
}

}  // namespace skipstream::cli
