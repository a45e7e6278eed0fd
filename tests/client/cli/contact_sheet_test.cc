#include "client/cli/sweep/contact_sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spng.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/commands/generate_flags.h"
#include "client/cli/commands/generate_job.h"
#include "client/cli/commands/image_record.h"
#include "client/cli/output/image_codec.h"
#include "client/cli/sweep/bitmap_text.h"

namespace skipstream::cli {
namespace {

using ::testing::ElementsAre;

constexpr Color kRed = {200, 10, 20};
constexpr Color kBlack = {0, 0, 0};

Bitmap Flat(int width, int height, const Color& color) {
  Bitmap bitmap{width, height, {}};
  for (int i = 0; i < width * height; ++i) {
    bitmap.rgb.insert(bitmap.rgb.end(), color.begin(), color.end());
  }
  return bitmap;
}

Color At(const Bitmap& bitmap, int x, int y) {
  const uint8_t* pixel = bitmap.at(x, y);
  return {pixel[0], pixel[1], pixel[2]};
}

int Count(const Bitmap& bitmap, const Color& color) {
  int count = 0;
  for (int y = 0; y < bitmap.height; ++y) {
    for (int x = 0; x < bitmap.width; ++x) count += At(bitmap, x, y) == color;
  }
  return count;
}

// The upper left corner of the first pixel of `color` in reading order.
std::pair<int, int> Find(const Bitmap& bitmap, const Color& color) {
  for (int y = 0; y < bitmap.height; ++y) {
    for (int x = 0; x < bitmap.width; ++x) {
      if (At(bitmap, x, y) == color) return {x, y};
    }
  }
  return {-1, -1};
}

TEST(ContactSheetTest, EnlargesByTheLargestWholeFactorThatFits) {
  ContactSheet sheet;
  sheet.cells = {{Flat(32, 32, kRed), Flat(32, 32, kBlack)}};
  sheet.target_cell_size = 150;
  const Bitmap page = RenderContactSheet(sheet);
  EXPECT_EQ(Count(page, kRed), 128 * 128);
  EXPECT_EQ(Count(page, kBlack), 128 * 128);
  EXPECT_EQ(page.height, 128 + 2 * 16);
  EXPECT_EQ(page.width, 2 * 128 + 8 + 2 * 16);
}

TEST(ContactSheetTest, EnlargementIsNearestNeighbour) {
  Bitmap image = Flat(2, 2, kRed);
  std::copy(kBlack.begin(), kBlack.end(), image.at(1, 0));
  ContactSheet sheet;
  sheet.cells = {{image}};
  sheet.target_cell_size = 8;
  const Bitmap page = RenderContactSheet(sheet);
  EXPECT_EQ(At(page, 16 + 3, 16), kRed);
  EXPECT_EQ(At(page, 16 + 4, 16), kBlack);
  EXPECT_EQ(At(page, 16 + 7, 16 + 3), kBlack);
  EXPECT_EQ(At(page, 16 + 7, 16 + 4), kRed);
}

TEST(ContactSheetTest, LargeImagesKeepTheirSize) {
  ContactSheet sheet;
  sheet.cells = {{Flat(300, 200, kRed)}};
  EXPECT_EQ(Count(RenderContactSheet(sheet), kRed), 300 * 200);
}

TEST(ContactSheetTest, LabelsMakeRoomAndLieOutsideTheCells) {
  ContactSheet plain;
  plain.cells = {{Flat(32, 32, kRed), Flat(32, 32, kRed)}, {Flat(32, 32, kRed), Bitmap()}};
  ContactSheet labelled = plain;
  labelled.title = "nouns32, heun";
  labelled.row_labels = {{"NFE 9", "rho 0.9"}, {"NFE 35"}};
  labelled.column_labels = {{"cat", "seed 1"}, {"dog", "seed 2"}};
  const Bitmap with = RenderContactSheet(labelled);
  const Bitmap without = RenderContactSheet(plain);
  EXPECT_EQ(Count(with, kRed), 3 * 128 * 128);
  EXPECT_GT(with.width, without.width);
  EXPECT_GT(with.height, without.height);
  const Color ink = {30, 30, 30};
  EXPECT_EQ(Count(without, ink), 0);
  EXPECT_GT(Count(with, ink), 500);
  const auto [left, top] = Find(with, kRed);
  int above = 0, beside = 0;
  for (int y = 0; y < with.height; ++y) {
    for (int x = 0; x < with.width; ++x) {
      if (At(with, x, y) != ink) continue;
      above += y < top;
      beside += y >= top && x < left;
      EXPECT_FALSE(x >= left && y >= top) << "ink on a cell at " << x << "," << y;
    }
  }
  EXPECT_GT(above, 100);
  EXPECT_GT(beside, 100);
}

TEST(ContactSheetTest, MixedSizesAndShortRowsStayInTheirCells) {
  ContactSheet sheet;
  sheet.cells = {{Flat(8, 8, kRed), Flat(16, 16, kBlack)}, {Flat(16, 16, kRed)}};
  sheet.target_cell_size = 16;
  const Bitmap page = RenderContactSheet(sheet);
  EXPECT_EQ(Count(page, kRed), 8 * 8 + 16 * 16);
}

TEST(ContactSheetTest, ASquareOfSevenImagesHasThreeColumns) {
  const auto rows = ArrangeInSquare(std::vector<Bitmap>(7, Flat(1, 1, kRed)));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].size(), 3u);
  EXPECT_EQ(rows[2].size(), 1u);
}

// The row labels of a sweep over `guidance` and `solvers`; every image is there.
std::vector<std::vector<std::string>> RowLabelsOf(std::vector<double> guidance,
                                                  std::vector<v1::Solver> solvers) {
  GenerateFlags flags;
  flags.axes.nfe = {9};
  flags.axes.seeds = {1, 2};
  flags.axes.guidance = std::move(guidance);
  flags.axes.solvers = std::move(solvers);
  const GenerateJob job = *PlanJob(flags, [] { return 0u; });
  GenerateRecords records;
  for (const PlannedRequest& planned : job.requests) {
    for (int column = 0; column < 2; ++column) {
      ImageRecord& record = records.images[job.ImageIndex(planned.row, column)];
      record.row = planned.row;
      record.column = column;
      *record.image.mutable_resolved_request() = planned.request;
      record.bitmap = Bitmap{1, 1, {0, 0, 0}};
    }
  }
  return MakeSheet(job, records, "").row_labels;
}

TEST(MakeSheetTest, RowsAreLabelledWithWhatTheSweepNames) {
  using Lines = std::vector<std::string>;
  EXPECT_THAT(RowLabelsOf({}, {v1::SOLVER_HEUN}), ElementsAre(Lines{"NFE 9"}));
  EXPECT_THAT(RowLabelsOf({}, {v1::SOLVER_HEUN, v1::SOLVER_UNIPC}),
              ElementsAre(Lines{"NFE 9", "heun"}, Lines{"NFE 9", "unipc"}));
  EXPECT_THAT(RowLabelsOf({1, 2.5}, {v1::SOLVER_DPMPP_2M_SDE}),
              ElementsAre(Lines{"NFE 9", "guidance 1.0"}, Lines{"NFE 9", "guidance 2.5"}));
}

TEST(BitmapTextTest, DrawsTheGlyphsOfTheFont) {
  Bitmap page = Flat(7, 13, {255, 255, 255});
  DrawText(page, 0, 0, "L", 1, kBlack);
  for (int y = 2; y <= 10; ++y) EXPECT_EQ(At(page, 0, y), kBlack) << y;
  EXPECT_EQ(At(page, 4, 10), kBlack);
  EXPECT_NE(At(page, 4, 5), kBlack);
  Bitmap twice = Flat(14, 26, {255, 255, 255});
  DrawText(twice, 0, 0, "L", 2, kBlack);
  EXPECT_EQ(Count(twice, kBlack), 4 * Count(page, kBlack));
}

TEST(BitmapTextTest, CutsWhatLiesOutsideAndShowsUnknownBytesAsQuestionMarks) {
  Bitmap page = Flat(5, 5, {255, 255, 255});
  DrawText(page, -3, -3, "WWW", 3, kBlack);
  Bitmap umlaut = Flat(7, 13, {255, 255, 255});
  DrawText(umlaut, 0, 0, "\xe4", 1, kBlack);
  Bitmap question = Flat(7, 13, {255, 255, 255});
  DrawText(question, 0, 0, "?", 1, kBlack);
  EXPECT_EQ(umlaut.rgb, question.rgb);
  EXPECT_GT(Count(question, kBlack), 0);
}

TEST(BitmapTextTest, LongTextIsShortened) {
  EXPECT_EQ(FitText("chameleon", 1, 63), "chameleon");
  EXPECT_EQ(FitText("chameleon", 1, 62), "chamel..");
}

TEST(ImageCodecTest, PngGoesThereAndBack) {
  Bitmap image = Flat(5, 3, kRed);
  std::copy(kBlack.begin(), kBlack.end(), image.at(4, 2));
  v1::EncodedImage encoded;
  encoded.set_format(v1::IMAGE_FORMAT_PNG);
  encoded.set_data(*EncodePng(image));
  const auto decoded = DecodeImage(encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->width, 5);
  EXPECT_EQ(decoded->rgb, image.rgb);
  EXPECT_TRUE(absl::IsNotFound(ReadPngText(encoded.data(), "skipstream.request").status()));
}

// A PNG of one row with a compressed text of `text_bytes`; `width` pixels of one bit.
std::string PackedPng(uint32_t width, uint32_t height, size_t text_bytes) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER),
                                                                    spng_ctx_free);
  spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header = {};
  header.width = width;
  header.height = height;
  header.bit_depth = 1;
  header.color_type = SPNG_COLOR_TYPE_GRAYSCALE;
  spng_set_ihdr(context.get(), &header);
  std::string zeros(text_bytes, '0');
  spng_text text = {};
  text.type = SPNG_ZTXT;
  std::strcpy(text.keyword, "skipstream.request");
  text.text = zeros.data();
  text.length = zeros.size();
  spng_set_text(context.get(), &text, 1);
  const std::vector<uint8_t> pixels(static_cast<size_t>(width + 7) / 8 * height);
  spng_encode_image(context.get(), pixels.data(), pixels.size(), SPNG_FMT_PNG,
                    SPNG_ENCODE_FINALIZE);
  size_t size = 0;
  int error = 0;
  const std::unique_ptr<void, decltype(&std::free)> png(
      spng_get_png_buffer(context.get(), &size, &error), std::free);
  return std::string(static_cast<const char*>(png.get()), size);
}

TEST(ImageCodecTest, APngThatUnpacksToFarMoreThanARequestIsRefused) {
  EXPECT_EQ(ReadPngText(PackedPng(8, 1, 1 << 20), "skipstream.request")->size(), 1u << 20);
  const std::string text_bomb = PackedPng(8, 1, 32 << 20);
  EXPECT_LT(text_bomb.size(), 100'000u);
  EXPECT_TRUE(absl::IsDataLoss(ReadPngText(text_bomb, "skipstream.request").status()));
  v1::EncodedImage image;
  image.set_data(text_bomb);
  EXPECT_TRUE(absl::IsDataLoss(DecodeImage(image).status()));
  // 12 MB of pixels of one bit, 288 MB as RGB.
  EXPECT_TRUE(absl::IsDataLoss(ReadPngText(PackedPng(30'000, 3'200, 10), "any").status()));
}

TEST(ImageCodecTest, RawGreyBecomesRgb) {
  v1::EncodedImage encoded;
  encoded.set_format(v1::IMAGE_FORMAT_RAW);
  encoded.set_width(2);
  encoded.set_height(1);
  encoded.set_channels(1);
  encoded.set_data(std::string("\x07\xff", 2));
  EXPECT_EQ(DecodeImage(encoded)->rgb, (std::vector<uint8_t>{7, 7, 7, 255, 255, 255}));
  encoded.set_height(2);
  EXPECT_TRUE(absl::IsDataLoss(DecodeImage(encoded).status()));
}

TEST(ImageCodecTest, RubbishIsAnErrorInEveryFormat) {
  for (v1::ImageFormat format :
       {v1::IMAGE_FORMAT_PNG, v1::IMAGE_FORMAT_WEBP, v1::IMAGE_FORMAT_RAW}) {
    v1::EncodedImage encoded;
    encoded.set_format(format);
    encoded.set_data("rubbish");
    EXPECT_TRUE(absl::IsDataLoss(DecodeImage(encoded).status())) << format;
  }
}

}  // namespace
}  // namespace skipstream::cli
