// The flags of `skipstream generate` and the request they make.
#include "client/cli/commands/generate_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "client/cli/commands/generate_job.h"
#include "client/cli/output/enum_words.h"
#include "tests/testing/temporary_directory.h"

namespace skipstream::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

absl::Status Parse(GenerateFlags& flags, const std::string& line) {
  CLI::App app;
  AddGenerateFlags(app, flags);
  try {
    app.parse(line);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return absl::OkStatus();
}

TEST(GenerateFlagsTest, FlagsBecomeTheRequestAndTheAxes) {
  GenerateFlags flags;
  ASSERT_TRUE(Parse(flags,
                    "--model m --class cat --class dog,3 --seed 1-3 --nfe 9,19 --rho 0.9 "
                    "--solver euler --sigma_max 40 --s_churn 10 --noise_ramp low --format webp "
                    "--scale 4 --priority high")
                  .ok());
  EXPECT_EQ(flags.axes.classes.size(), 3u);
  EXPECT_THAT(flags.axes.nfe, ElementsAre(9, 19));
  EXPECT_EQ(flags.base.model(), "m");
  EXPECT_EQ(flags.base.sampler().sigma_max(), 40);
  EXPECT_EQ(flags.base.sampler().churn().s_churn(), 10);
  EXPECT_EQ(flags.base.skip_tuning().noise().ramp().direction(),
            v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA);
  EXPECT_EQ(flags.base.output().format(), v1::IMAGE_FORMAT_WEBP);
  EXPECT_EQ(flags.base.output().scale(), 4);
  EXPECT_EQ(flags.base.priority(), v1::PRIORITY_HIGH);
}

TEST(GenerateFlagsTest, UntouchedFieldsStayTheServersDefaults) {
  GenerateFlags flags;
  ASSERT_TRUE(Parse(flags, "--seed 1").ok());
  EXPECT_EQ(flags.base.ByteSizeLong(), 0u);
}

TEST(GenerateFlagsTest, FlagsThatExcludeEachOtherAreRefused) {
  for (const char* line : {"--rho 1 --preset p",
                           "--rows 9:1 --nfe 9",
                           "--rows 9:1 --rho 1",
                           "--rho_list 1 --rho_top 1",
                           "--noise_ramp low --noise_window 1,2",
                           "--sigmas 3,2,1 --sigma_max 4",
                           "--request x.png --seed 1",
                           "--preset p --noise_ramp low",
                           "--schedule vp --sigmas 3,2,1",
                           "--schedule vp --schedule_exponent 5",
                           "--schedule cosine",
                           "--solver rk4",
                           "--final_step one",
                           "--unipc_variant bh3",
                           "--unipc_order x",
                           "--conditioning_sigmas 1,,2",
                           "--guidance 1,x",
                           "--guidance_interval 1,2",
                           "--guidance 2 --guidance_interval 3",
                           "--guide_model m",
                           "--strength 0.5",
                           "--mask m.png",
                           "--request x.png --image y.png",
                           "--request x.png --guidance 2",
                           "--request x.png --eta 1",
                           "--count 0",
                           "--format gif",
                           "--timeout -1",
                           "--seed 1x",
                           "positional"}) {
    GenerateFlags flags;
    EXPECT_FALSE(Parse(flags, line).ok()) << line;
  }
  GenerateFlags flags;
  EXPECT_TRUE(Parse(flags, "--rho_bottom 0.9 --rho_top 1.1").ok());
  EXPECT_EQ(flags.base.skip_tuning().linear().top(), 1.1);
}

TEST(GenerateFlagsTest, EverySolverOfTheApiIsAWord) {
  for (const std::string& word : WordsOf<v1::Solver>()) {
    GenerateFlags flags;
    ASSERT_TRUE(Parse(flags, "--solver " + word).ok()) << word;
    EXPECT_THAT(flags.axes.solvers, ElementsAre(*FromWord<v1::Solver>(word)));
  }
}

TEST(GenerateFlagsTest, EveryScheduleOfTheApiIsAWord) {
  const google::protobuf::OneofDescriptor* schedules =
      v1::Sampler::descriptor()->FindOneofByName("schedule");
  for (int i = 0; i < schedules->field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *schedules->field(i);
    GenerateFlags flags;
    if (field.name() == "explicit_levels") {
      EXPECT_FALSE(Parse(flags, "--schedule explicit_levels").ok());
      continue;
    }
    ASSERT_TRUE(Parse(flags, "--schedule " + field.name()).ok()) << field.name();
    EXPECT_EQ(flags.base.sampler().schedule_case(), field.number());
  }
}

TEST(GenerateFlagsTest, EveryFieldOfTheSamplerHasAFlag) {
  std::set<std::string> unset;
  for (int i = 0; i < v1::Sampler::descriptor()->field_count(); ++i) {
    unset.insert(v1::Sampler::descriptor()->field(i)->name());
  }
  for (const char* line :
       {"--sigma_min 1 --sigma_max 2 --s_churn 1 --final_step zero --eta 1 --unipc_order 1",
        "--halved_curvature --consistency_sigma_min 0 --conditioning_sigmas 1", "--sigmas 1",
        "--schedule karras", "--schedule exponential", "--schedule linear", "--schedule vp",
        "--schedule ve", "--schedule iddpm"}) {
    GenerateFlags flags;
    ASSERT_TRUE(Parse(flags, line).ok()) << line;
    std::vector<const google::protobuf::FieldDescriptor*> set;
    v1::Sampler::GetReflection()->ListFields(flags.base.sampler(), &set);
    for (const auto* field : set) unset.erase(field->name());
  }
  EXPECT_THAT(unset, ElementsAre("nfe", "solver"));  // the axes of a sweep
}

TEST(GenerateFlagsTest, SamplerFlagsBecomeTheSampler) {
  GenerateFlags flags;
  ASSERT_TRUE(
      Parse(flags,
            "--schedule_exponent 5 --schedule karras --final_step sigma_min "
            "--conditioning_sigmas 70,3,0.1 --eta 0.5 --s_noise 1.01 --unipc_order 3 "
            "--unipc_variant bh1 --no_corrector --halved_curvature --consistency_sigma_min 0.01")
          .ok());
  const v1::Sampler& sampler = flags.base.sampler();
  EXPECT_EQ(sampler.karras().schedule_exponent(), 5);
  EXPECT_EQ(sampler.final_step(), v1::FINAL_STEP_SIGMA_MIN);
  EXPECT_THAT(sampler.conditioning_sigmas(), ElementsAre(70, 3, 0.1));
  EXPECT_EQ(sampler.step_noise().eta(), 0.5);
  EXPECT_EQ(sampler.churn().s_noise(), 1.01);
  EXPECT_EQ(sampler.unipc().order(), 3);
  EXPECT_EQ(sampler.unipc().variant(), v1::UNIPC_VARIANT_BH1);
  EXPECT_FALSE(sampler.unipc().corrector());
  EXPECT_TRUE(sampler.unipc().has_corrector());
  EXPECT_TRUE(sampler.dpmpp_3m().halved_curvature());
  EXPECT_EQ(sampler.consistency_sigma_min(), 0.01);
}

TEST(GenerateFlagsTest, GuidanceFlagsBecomeTheGuidance) {
  GenerateFlags flags;
  ASSERT_TRUE(Parse(flags, "--guidance 1.5,3 --guidance_interval 0.3, --guide_model small").ok());
  EXPECT_THAT(flags.axes.guidance, ElementsAre(1.5, 3));
  EXPECT_EQ(flags.base.guidance().sigma_lo(), 0.3);
  EXPECT_FALSE(flags.base.guidance().has_sigma_hi());
  EXPECT_EQ(flags.base.guidance().guide_model(), "small");
}

// --- Images to start from ---

class InputImageTest : public ::testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& data) const {
    std::ofstream(folder_ / name, std::ios::binary) << data;
    return folder_ / name;
  }

  static absl::StatusOr<GenerateJob> Plan(const std::string& line) {
    GenerateFlags flags;
    if (absl::Status status = Parse(flags, line); !status.ok()) return status;
    return PlanJob(flags, [] { return 1u; });
  }

  const TemporaryDirectory folder_;
};

TEST_F(InputImageTest, EveryRequestCarriesTheFilesAsTheyAre) {
  const std::string image("a\0picture\n", 11);
  const auto job = Plan("--nfe 9,19 --strength 0.3 --image " + File("picture", image) + " --mask " +
                        File("mask", "a mask"));
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_EQ(job->requests.size(), 2u);
  for (const PlannedRequest& planned : job->requests) {
    EXPECT_EQ(planned.request.input_image().picture(), image);
    EXPECT_EQ(planned.request.input_image().mask(), "a mask");
    EXPECT_EQ(planned.request.input_image().strength(), 0.3);
  }
}

TEST_F(InputImageTest, WhatCannotBeAImageIsRefusedWithFlagAndFile) {
  const std::string good = File("good", "data");
  EXPECT_THAT(Message(Plan("--image " + (folder_ / "none.png")).status()),
              AllOf(HasSubstr("--image: cannot read"), HasSubstr("none.png")));
  EXPECT_THAT(Message(Plan("--image " + folder_.path().string()).status()),
              HasSubstr("it is a folder"));
  EXPECT_THAT(Message(Plan("--image " + good + " --mask " + File("empty", "")).status()),
              AllOf(HasSubstr("--mask: "), HasSubstr("empty is empty")));
  const std::string large = File("large", "");
  std::filesystem::resize_file(large, (4 << 20) + 1);
  EXPECT_THAT(Message(Plan("--image " + large).status()), HasSubstr("larger than 4194304 bytes"));
  EXPECT_TRUE(Plan("--image " + good).ok());
}

}  // namespace
}  // namespace skipstream::cli
