// Arranges many small images on one sheet, with or without labels.
#ifndef SKIPSTREAM_CLIENT_CLI_SWEEP_CONTACT_SHEET_H_
#define SKIPSTREAM_CLIENT_CLI_SWEEP_CONTACT_SHEET_H_

#include <string>
#include <vector>

#include "client/cli/output/image_codec.h"

namespace skipstream::cli {

struct ContactSheet {
  std::string title;                                    // empty: none
  std::vector<std::vector<std::string>> row_labels;     // lines per row; empty: none
  std::vector<std::vector<std::string>> column_labels;  // lines per column; empty: none
  std::vector<std::vector<Bitmap>> cells;  // [row][column]; an empty bitmap leaves its cell blank
  // Limit in pixels: images are enlarged by the largest whole factor that keeps them within it.
  int target_cell_size = 128;
};

// Renders a sheet, at least one cell of which holds an image.
Bitmap RenderContactSheet(const ContactSheet& sheet);

// Arranges the images in reading order on a grid that is about square.
std::vector<std::vector<Bitmap>> ArrangeInSquare(std::vector<Bitmap> images);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_SWEEP_CONTACT_SHEET_H_
