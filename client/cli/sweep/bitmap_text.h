// Draws text for labels in the X11 font misc-fixed 7x13.
#ifndef SKIPSTREAM_CLIENT_CLI_SWEEP_BITMAP_TEXT_H_
#define SKIPSTREAM_CLIENT_CLI_SWEEP_BITMAP_TEXT_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "client/cli/output/image_codec.h"

namespace skipstream::cli {

inline constexpr int kGlyphWidth = 7;
inline constexpr int kGlyphHeight = 13;

using Color = std::array<uint8_t, 3>;

// Returns the width of `text` in pixels at a whole-number `scale`.
int TextWidth(absl::string_view text, int scale);

// Draws one line with its upper left corner at (x, y); parts outside the bitmap are cut off. Bytes
// that are not printable ASCII show as '?'.
void DrawText(Bitmap& bitmap, int x, int y, absl::string_view text, int scale, const Color& color);

// Returns `text`, or its beginning and ".." if it is wider than `max_width` pixels.
std::string FitText(absl::string_view text, int scale, int max_width);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_SWEEP_BITMAP_TEXT_H_
