// Lists and file names: what the command decides before it sends anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "client/cli/commands/generate_job.h"
#include "client/cli/flags/help_formatter.h"
#include "client/cli/flags/list_parser.h"
#include "client/cli/flags/request_file.h"
#include "client/cli/output/enum_words.h"
#include "client/cli/output/output_pattern.h"
#include "client/cli/output/progress_bar.h"
#include "tests/testing/temporary_directory.h"

namespace skipstream::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(ListParserTest, SeedsAreNumbersAndInclusiveRanges) {
  EXPECT_THAT(*ParseSeeds("7"), ElementsAre(7u));
  EXPECT_THAT(*ParseSeeds("1-3, 9,4294967294-4294967295"),
              ElementsAre(1u, 2u, 3u, 9u, 4294967294u, 4294967295u));
  for (const char* bad : {"", "1,", "a", "-1", "3-1", "1-", "4294967296", "1.5", "0-4294967295"}) {
    EXPECT_FALSE(ParseSeeds(bad).ok()) << bad;
  }
  EXPECT_THAT(Message(ParseSeeds("2-x").status()), HasSubstr("'2-x' is not a seed"));
}

TEST(ListParserTest, NumbersHaveToBeFinite) {
  EXPECT_THAT(*ParseNumbers("0.9,1,1e-2"), ElementsAre(0.9, 1.0, 0.01));
  for (const char* bad : {"nan", "inf", "", "1,,2", "0.9 1.0"}) {
    EXPECT_FALSE(ParseNumbers(bad).ok()) << bad;
  }
}

TEST(ListParserTest, OnlyAllDigitWordsAreClassIndexes) {
  const auto classes = *ParseClasses("cat,3,ghost-B,2fast");
  ASSERT_EQ(classes.size(), 4u);
  EXPECT_EQ(classes[0].name(), "cat");
  EXPECT_EQ(classes[1].index(), 3);
  EXPECT_EQ(classes[2].name(), "ghost-B");
  EXPECT_EQ(classes[3].name(), "2fast");
  EXPECT_FALSE(ParseClasses("cat,").ok());
  EXPECT_FALSE(ParseClasses("99999999999").ok());
}

TEST(EnumWordsTest, EverySolverOfTheApiHasAWord) {
  EXPECT_THAT(WordsOf<v1::Solver>(),
              ElementsAre("euler", "heun", "euler_ancestral", "dpmpp_2m", "dpmpp_3m",
                          "dpmpp_2m_sde", "unipc", "ipndm", "dpm2", "consistency"));
  for (const std::string& word : WordsOf<v1::Solver>()) {
    EXPECT_EQ(ToWord(*FromWord<v1::Solver>(word)), word);
  }
}

TEST(EnumWordsTest, WhatIsUnspecifiedOrUnknownHasNone) {
  EXPECT_EQ(FromWord<v1::Solver>("unspecified"), std::nullopt);
  EXPECT_EQ(FromWord<v1::Solver>("SOLVER_HEUN"), std::nullopt);
  EXPECT_EQ(ToWord(v1::SOLVER_UNSPECIFIED), "");
  EXPECT_EQ(ToWord(static_cast<v1::Solver>(999)), "");
}

TEST(ListParserTest, SolversAreThoseOfTheApiAndAWrongOneIsToldThem) {
  EXPECT_THAT(*ParseSolvers("dpmpp_2m_sde, consistency"),
              ElementsAre(v1::SOLVER_DPMPP_2M_SDE, v1::SOLVER_CONSISTENCY));
  EXPECT_THAT(Message(ParseSolvers("heun,rk4").status()),
              AllOf(HasSubstr("'rk4' is not a solver (euler, heun, "), HasSubstr("dpm2")));
}

TEST(ListParserTest, RowsAreNfeAndRhoAndPerhapsASolver) {
  const auto rows = *ParseRows("9:0.9,35:1.05:euler");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(*rows[0].nfe, 9);
  EXPECT_EQ(*rows[0].rho, 0.9);
  EXPECT_FALSE(rows[0].solver.has_value());
  EXPECT_EQ(*rows[1].solver, v1::SOLVER_EULER);
  for (const char* bad : {"9", "9:", "a:1", "9:1:rk4", "9:1:heun:x"}) {
    EXPECT_FALSE(ParseRows(bad).ok()) << bad;
  }
}

TEST(ListParserTest, AWindowMayBeOpenAtOneEnd) {
  EXPECT_EQ(ParseWindow("0.5,10")->sigma_hi(), 10);
  EXPECT_FALSE(ParseWindow("5,")->has_sigma_hi());
  EXPECT_FALSE(ParseWindow(",5")->has_sigma_lo());
  for (const char* bad : {",", "5", "1,2,3", "a,b"}) EXPECT_FALSE(ParseWindow(bad).ok()) << bad;
}

TEST(ListParserTest, KnotsAreSigmaAndStrength) {
  const auto knots = *ParseKnots("0.1:0,5:0.8");
  ASSERT_EQ(knots.knots_size(), 2);
  EXPECT_EQ(knots.knots(1).sigma(), 5);
  EXPECT_EQ(knots.knots(1).strength(), 0.8);
  EXPECT_FALSE(ParseKnots("5").ok());
}

// --- File names ---

uint32_t NoDraw() {
  ADD_FAILURE() << "no seed should be drawn";
  return 0;
}

TEST(OutputPatternTest, FillsInEveryPlaceholder) {
  const PatternValues values{3, 20, 7, "ghost-B", 9, "0.9", "2.0", "heun"};
  EXPECT_EQ(ExpandPattern("a/{index}-{seed}-{class}-{nfe}-{rho}-{guidance}-{solver}.png", values),
            "a/03-7-ghost-B-9-0.9-2.0-heun.png");
  EXPECT_EQ(ExpandPattern("plain.png", values), "plain.png");
}

TEST(OutputPatternTest, AClassNameCannotLeaveTheFolder) {
  PatternValues values;
  values.class_name = "../../etc/passwd";
  EXPECT_EQ(ExpandPattern("out/{class}", values), "out/_._.._etc_passwd");
}

TEST(OutputPatternTest, NamesUnknownPlaceholders) {
  EXPECT_TRUE(ValidatePattern("{seed}{class}.png").ok());
  EXPECT_THAT(Message(ValidatePattern("{sed}.png")), HasSubstr("'{sed}' is not a placeholder"));
  EXPECT_FALSE(ValidatePattern("{seed").ok());
}

GenerateFlags ManySeeds() {
  GenerateFlags flags;
  flags.axes.seeds = {1, 2, 3};
  return flags;
}

TEST(PlanOutputTest, APlainPngNameForASweepIsItsSheet) {
  GenerateFlags flags = ManySeeds();
  flags.out = "sheet.png";
  const OutputPlan plan = *PlanOutput(flags, *PlanJob(flags, NoDraw));
  EXPECT_EQ(plan.grid, "sheet.png");
  EXPECT_EQ(plan.pattern, "");
}

TEST(PlanOutputTest, OneNameForSeveralImagesIsAnError) {
  GenerateFlags flags;
  flags.axes.count = 3;
  flags.out = "image.png";
  const auto plan = PlanOutput(flags, *PlanJob(flags, [] { return 1u; }));
  EXPECT_TRUE(absl::IsInvalidArgument(plan.status()));
  EXPECT_THAT(Message(plan.status()), HasSubstr("image-{index}.png"));
}

TEST(PlanOutputTest, TwoImagesInOneFileIsAnError) {
  GenerateFlags flags = ManySeeds();
  flags.out = "{class}.png";
  EXPECT_THAT(Message(PlanOutput(flags, *PlanJob(flags, NoDraw)).status()),
              HasSubstr("add {index}"));
}

TEST(PlanOutputTest, DefaultNamesTellRowsApart) {
  GenerateFlags flags = ManySeeds();
  EXPECT_EQ(PlanOutput(flags, *PlanJob(flags, NoDraw))->pattern, "{class}-{seed}.png");
  flags.axes.nfe = {9, 19};
  flags.base.mutable_output()->set_format(v1::IMAGE_FORMAT_WEBP);
  EXPECT_EQ(PlanOutput(flags, *PlanJob(flags, NoDraw))->pattern,
            "{class}-{seed}-nfe{nfe}-rho{rho}-{solver}.webp");
  flags.axes.guidance = {1, 2};
  EXPECT_EQ(PlanOutput(flags, *PlanJob(flags, NoDraw))->pattern,
            "{class}-{seed}-nfe{nfe}-rho{rho}-{solver}-guidance{guidance}.webp");
}

TEST(PlanOutputTest, AMissingFolderIsToldBeforeTheWork) {
  GenerateFlags flags;
  flags.out = "no-such-folder/x.png";
  const absl::Status status = PlanOutput(flags, *PlanJob(flags, [] { return 1u; })).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(Message(status), HasSubstr("the folder no-such-folder does not exist"));
}

TEST(PlanOutputTest, PreviewsNeedBothFlags) {
  GenerateFlags flags;
  flags.base.mutable_output()->set_preview_every(3);
  EXPECT_FALSE(PlanOutput(flags, *PlanJob(flags, [] { return 1u; })).ok());
  flags.preview_dir = ".";
  EXPECT_TRUE(PlanOutput(flags, *PlanJob(flags, [] { return 1u; })).ok());
  flags.base.clear_output();
  EXPECT_FALSE(PlanOutput(flags, *PlanJob(flags, [] { return 1u; })).ok());
}

// --- Small things ---

TEST(RequestFileTest, ReadsJsonAndNamesTheFileInErrors) {
  EXPECT_EQ(RequestFromJson(R"({"seeds":[7],"sampler":{"nfe":9}})")->sampler().nfe(), 9);
  EXPECT_FALSE(RequestFromJson(R"({"sead":[7]})").ok());
  const TemporaryDirectory directory;
  const std::string file = directory / "bad_request.json";
  std::ofstream(file) << "not json";
  EXPECT_THAT(Message(LoadRequest(file).status()), HasSubstr("bad_request.json: not the JSON"));
  EXPECT_TRUE(absl::IsNotFound(LoadRequest("no-such-file.png").status()));
  std::ofstream(file) << "\xef\xbb\xbf{\"seeds\":[7]}";
  const auto marked = LoadRequest(file);
  ASSERT_TRUE(marked.ok()) << "behind a byte order mark: " << marked.status();
  EXPECT_EQ(marked->seeds(0), 7u);
  std::ofstream(file) << std::string(9 << 20, ' ');
  EXPECT_THAT(Message(LoadRequest(file).status()), HasSubstr("more than 8388608"));
  EXPECT_THAT(Message(LoadRequest("/dev/zero").status()), HasSubstr("larger than"));
  EXPECT_FALSE(RequestFromJson(std::string(100'000, '[')).ok());
  std::string nested = "0";
  for (int i = 0; i < 100'000; ++i) nested.insert(0, "{\"guidance\":");
  EXPECT_FALSE(RequestFromJson(nested).ok());
}

TEST(ProgressBarTest, SaysHowFarHowFastAndHowLong) {
  EXPECT_EQ(RenderProgress({3, 8, 50, 200, absl::Seconds(5)}, 80),
            " 25% [########-------------------------] 3/8 images, 10 evaluations/s, 15 s left");
}

TEST(ProgressBarTest, FitsNarrowTerminals) {
  for (int width = 0; width < 120; ++width) {
    EXPECT_LE(RenderProgress({3, 8, 50, 200, absl::Seconds(5)}, width).size(),
              static_cast<size_t>(width));
  }
}

TEST(ProgressBarTest, KnowsNothingBeforeTheFirstEvaluation) {
  EXPECT_EQ(RenderProgress({0, 1, 0, 19, absl::Seconds(5)}, 30), "  0% [------------] 0/1 images");
}

TEST(HelpFormatterTest, WrapsWordsUnderTheirColumn) {
  EXPECT_EQ(WrapWords("one two three four", 12, 2), "one two\n  three four\n");
}

}  // namespace
}  // namespace skipstream::cli
