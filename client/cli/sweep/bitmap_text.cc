#include "client/cli/sweep/bitmap_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace skipstream::cli {
namespace {

constexpr char kFirstGlyph = ' ';
constexpr char kLastGlyph = '~';
constexpr uint8_t kGlyphs[kLastGlyph - kFirstGlyph + 1][kGlyphHeight] = {
#include "client/cli/sweep/font_7x13.inc"
};

void FillSquare(Bitmap& bitmap, int x, int y, int size, const Color& color) {
  for (int py = std::max(0, y); py < std::min(bitmap.height, y + size); ++py) {
    for (int px = std::max(0, x); px < std::min(bitmap.width, x + size); ++px) {
      std::copy(color.begin(), color.end(), bitmap.at(px, py));
    }
  }
}

}  // namespace

int TextWidth(absl::string_view text, int scale) {
  return static_cast<int>(text.size()) * kGlyphWidth * scale;
}

void DrawText(Bitmap& bitmap, int x, int y, absl::string_view text, int scale, const Color& color) {
  for (char c : text) {
    const char shown = c < kFirstGlyph || c > kLastGlyph ? '?' : c;
    const uint8_t* glyph = kGlyphs[shown - kFirstGlyph];
    for (int row = 0; row < kGlyphHeight; ++row) {
      for (int column = 0; column < kGlyphWidth; ++column) {
        if (glyph[row] >> (kGlyphWidth - 1 - column) & 1) {
          FillSquare(bitmap, x + column * scale, y + row * scale, scale, color);
        }
      }
    }
    x += kGlyphWidth * scale;
  }
}

std::string FitText(absl::string_view text, int scale, int max_width) {
  if (TextWidth(text, scale) <= max_width) return std::string(text);
  const int characters = std::max(0, max_width / (kGlyphWidth * scale) - 2);
  return absl::StrCat(text.substr(0, characters), "..");
}

}  // namespace skipstream::cli
