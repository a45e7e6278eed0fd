#include "client/cli/sweep/contact_sheet.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/cli/sweep/bitmap_text.h"

namespace skipstream::cli {
namespace {

constexpr Color kPaper = {255, 255, 255};
constexpr Color kBlank = {236, 236, 236};
constexpr Color kInk = {30, 30, 30};
constexpr int kMargin = 16;
constexpr int kGap = 8;
constexpr int kTitleScale = 2;

using Labels = std::vector<std::vector<std::string>>;

int LongestLine(const Labels& labels) {
  size_t longest = 0;
  for (const auto& lines : labels) {
    for (const std::string& line : lines) longest = std::max(longest, line.size());
  }
  return static_cast<int>(longest);
}

int MostLines(const Labels& labels) {
  size_t most = 0;
  for (const auto& lines : labels) most = std::max(most, lines.size());
  return static_cast<int>(most);
}

// Holds the layout of a sheet in pixels.
struct Layout {
  int zoom = 1;
  int cell_width = 0;
  int cell_height = 0;
  int rows = 0;
  int columns = 0;
  int label_scale = 1;
  int left = kMargin;  // of the first cell
  int top = kMargin;   // of the first cell
  int column_label_top = 0;
  int width = 0;
  int height = 0;

  int CellX(int column) const { return left + column * (cell_width + kGap); }
  int CellY(int row) const { return top + row * (cell_height + kGap); }
  int line_height() const { return kGlyphHeight * label_scale; }
};

Layout MakeLayout(const ContactSheet& sheet) {
  Layout layout;
  layout.rows = static_cast<int>(sheet.cells.size());
  int image_width = 1, image_height = 1;
  for (const auto& row : sheet.cells) {
    layout.columns = std::max(layout.columns, static_cast<int>(row.size()));
    for (const Bitmap& image : row) {
      image_width = std::max(image_width, image.width);
      image_height = std::max(image_height, image.height);
    }
  }
  layout.zoom = std::max(1, sheet.target_cell_size / std::max(image_width, image_height));
  layout.cell_width = image_width * layout.zoom;
  layout.cell_height = image_height * layout.zoom;

  // Large letters where every label fits above or beside its cell.
  const bool large = LongestLine(sheet.column_labels) * kGlyphWidth * 2 <= layout.cell_width &&
                     MostLines(sheet.row_labels) * kGlyphHeight * 2 <= layout.cell_height;
  layout.label_scale = large ? 2 : 1;
  if (!sheet.title.empty()) layout.top += kGlyphHeight * kTitleScale + kMargin;
  layout.column_label_top = layout.top;
  if (const int lines = MostLines(sheet.column_labels)) {
    layout.top += lines * layout.line_height() + kGap;
  }
  if (const int longest = LongestLine(sheet.row_labels)) {
    layout.left += longest * kGlyphWidth * layout.label_scale + kMargin;
  }
  layout.width = layout.CellX(layout.columns) - kGap + kMargin;
  layout.height = layout.CellY(layout.rows) - kGap + kMargin;
  layout.width = std::max(layout.width, 2 * kMargin + TextWidth(sheet.title, kTitleScale));
  return layout;
}

void FillCell(Bitmap& page, int left, int top, const Layout& layout) {
  for (int y = 0; y < layout.cell_height; ++y) {
    for (int x = 0; x < layout.cell_width; ++x) {
      std::copy(kBlank.begin(), kBlank.end(), page.at(left + x, top + y));
    }
  }
}

void PasteEnlarged(Bitmap& page, int left, int top, const Bitmap& image, int zoom) {
  for (int y = 0; y < image.height * zoom; ++y) {
    for (int x = 0; x < image.width * zoom; ++x) {
      std::copy_n(image.at(x / zoom, y / zoom), 3, page.at(left + x, top + y));
    }
  }
}

void DrawColumnLabels(Bitmap& page, const ContactSheet& sheet, const Layout& layout) {
  for (int column = 0; column < static_cast<int>(sheet.column_labels.size()); ++column) {
    int y = layout.column_label_top;
    for (const std::string& line : sheet.column_labels[column]) {
      const std::string shown = FitText(line, layout.label_scale, layout.cell_width);
      const int indent = (layout.cell_width - TextWidth(shown, layout.label_scale)) / 2;
      DrawText(page, layout.CellX(column) + indent, y, shown, layout.label_scale, kInk);
      y += layout.line_height();
    }
  }
}

void DrawRowLabels(Bitmap& page, const ContactSheet& sheet, const Layout& layout) {
  for (int row = 0; row < static_cast<int>(sheet.row_labels.size()); ++row) {
    const int lines = static_cast<int>(sheet.row_labels[row].size());
    int y = layout.CellY(row) + (layout.cell_height - lines * layout.line_height()) / 2;
    for (const std::string& line : sheet.row_labels[row]) {
      DrawText(page, kMargin, y, line, layout.label_scale, kInk);
      y += layout.line_height();
    }
  }
}

}  // namespace

Bitmap RenderContactSheet(const ContactSheet& sheet) {
  const Layout layout = MakeLayout(sheet);
  Bitmap page{layout.width, layout.height, {}};
  page.rgb.resize(static_cast<size_t>(page.width) * page.height * 3, kPaper[0]);
  DrawText(page, kMargin, kMargin, sheet.title, kTitleScale, kInk);
  DrawColumnLabels(page, sheet, layout);
  DrawRowLabels(page, sheet, layout);
  for (int row = 0; row < layout.rows; ++row) {
    for (int column = 0; column < static_cast<int>(sheet.cells[row].size()); ++column) {
      const Bitmap& image = sheet.cells[row][column];
      FillCell(page, layout.CellX(column), layout.CellY(row), layout);
      PasteEnlarged(page, layout.CellX(column), layout.CellY(row), image, layout.zoom);
    }
  }
  return page;
}

std::vector<std::vector<Bitmap>> ArrangeInSquare(std::vector<Bitmap> images) {
  const auto columns = static_cast<size_t>(std::ceil(std::sqrt(images.size())));
  std::vector<std::vector<Bitmap>> rows;
  for (Bitmap& image : images) {
    if (rows.empty() || rows.back().size() == columns) rows.emplace_back();
    rows.back().push_back(std::move(image));
  }
  return rows;
}

}  // namespace skipstream::cli
