#include "client/cli/output/text.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_format.h"

namespace skipstream::cli {
namespace {

// The first character of a text.
struct Character {
  size_t size = 1;  // in bytes
  uint32_t code = 0;
  bool valid = false;  // else a byte that is no UTF-8
};

// `text` is not empty.
Character FirstCharacter(absl::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {.size = 1, .code = lead, .valid = true};
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
  uint32_t code = lead & (0x7f >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[size] || code > 0x10ffff || surrogate) return {};
  return {.size = size, .code = code, .valid = true};
}

// True if a terminal would act on it, or show the letters around it in another order.
bool IsControl(uint32_t code) {
  const bool c0_or_c1 = code < 0x20 || (code >= 0x7f && code < 0xa0);
  const bool line_end = code == 0x2028 || code == 0x2029;
  const bool direction = code == 0x061c || code == 0x200e || code == 0x200f ||
                         (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return c0_or_c1 || line_end || direction;
}

std::string Escaped(const Character& character, uint8_t first_byte) {
  if (!character.valid) return absl::StrFormat("\\x%02x", first_byte);
  switch (character.code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      if (character.code < 0x80) return absl::StrFormat("\\x%02x", character.code);
      return absl::StrFormat("\\u%04x", character.code);
  }
}

// Copies `text`; `escape` says what stands for a control character or a byte that is no UTF-8.
template <typename Escape>
std::string Replaced(absl::string_view text, Escape escape) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const Character next = FirstCharacter(text);
    if (next.valid && !IsControl(next.code)) {
      shown.append(text.data(), next.size);
    } else {
      shown += escape(next, static_cast<uint8_t>(text[0]));
    }
    text.remove_prefix(next.size);
  }
  return shown;
}

}  // namespace

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const Character next = FirstCharacter(text);
    if (!next.valid) return false;
    text.remove_prefix(next.size);
  }
  return true;
}

std::string Printable(absl::string_view text) { return Replaced(text, Escaped); }

std::string PrintableLines(absl::string_view text) {
  return Replaced(text, [](const Character& character, uint8_t first_byte) {
    const bool line_end = character.valid && character.code == '\n';
    return line_end ? "\n" : Escaped(character, first_byte);
  });
}

std::string PrintableJson(absl::string_view json) {
  return Replaced(json, [](const Character& character, uint8_t) {
    // Outside of strings there are no others than these; inside JSON has escaped them already.
    if (character.code < 0x20) return std::string(1, static_cast<char>(character.code));
    return absl::StrFormat("\\u%04x", character.code);
  });
}

}  // namespace skipstream::cli
