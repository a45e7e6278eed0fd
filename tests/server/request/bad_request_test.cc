// Every field of a request, out of range; those of sampling are in bad_sampling_request_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/request/bad_request_fixture.h"

namespace skipstream {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

const std::string kLong(300, 'x');

const BadRequest kBadRequests[] = {
    {"ModelName", "model: 'no such/model'", "model", "letters, digits, '.', '_' or '-'"},
    {"ModelNameOversized", absl::StrCat("model: '", kLong, "'"), "model", "1 to 64 letters"},
    {"ModelSha256Short", "model_sha256: 'abc'", "model_sha256", "64 lower-case hex digits"},
    {"ModelSha256Upper", absl::StrCat("model_sha256: '", std::string(64, 'A'), "'"), "model_sha256",
     "64 lower-case hex digits"},
    {"CountZero", "count: 0", "count", "must be between 1 and 64, got 0"},
    {"CountNegative", "count: -1", "count", "must be between 1 and 64, got -1"},
    {"CountTooLarge", "count: 65", "count", "must be between 1 and 64, got 65"},
    {"CountAbsurd", "count: 2147483647", "count", "must be between 1 and 64, got 2147483647"},
    {"SeedsDoNotMatchCount", "count: 3 seeds: [1, 2]", "seeds", "must have 0, 1 or 3 values"},
    {"SeedsDoNotMatchClasses",
     "seeds: [1, 2] classes { index: 1 } classes { index: 2 } classes {index: 3}", "seeds",
     "must have 0, 1 or 3 values"},
    {"ClassIndexTooLarge", "classes { index: 10 }", "classes[0].index",
     "must be between 0 and 9, got 10"},
    {"ClassIndexNegative", "classes { index: 0 } classes { index: -1 }", "classes[1].index",
     "must be between 0 and 9, got -1"},
    {"ClassNameUnknown", "classes { name: 'Bananas' }", "classes[0].name",
     "did you mean \"banana\"?"},
    {"ClassNameFarOff", "classes { name: 'submarine' }", "classes[0].name",
     "one of the 10 class names that GetModel lists, or an index between 0 and 9"},
    {"ClassNameEmpty", "classes { name: '' }", "classes[0].name", "one of the 10 class names"},
    {"ClassNameOversized", absl::StrCat("classes { name: '", kLong, "' }"), "classes[0].name",
     "at most 256 bytes"},
    {"ClassSelectorEmpty", "classes { }", "classes[0]", "must have index or name set"},
    {"ClassesDoNotMatchCount", "count: 3 classes { index: 1 } classes { index: 2 }", "classes",
     "must have 0, 1 or 3 values"},
    {"ClassesOfAModelWithout", "model: 'grey' classes { index: 0 }", "classes", "must be empty"},
    {"RhoTooLarge", "skip_tuning { rho: 2.5 }", "skip_tuning.rho",
     "must be between 0 and 2, got 2.5"},
    {"RhoNegative", "skip_tuning { rho: -0.1 }", "skip_tuning.rho",
     "must be between 0 and 2, got -0.1"},
    {"RhoNan", "skip_tuning { rho: nan }", "skip_tuning.rho", "must be between 0 and 2, got nan"},
    {"LinearBottom", "skip_tuning { linear { bottom: -1 } }", "skip_tuning.linear.bottom",
     "must be between 0 and 2, got -1"},
    {"LinearTop", "skip_tuning { linear { top: inf } }", "skip_tuning.linear.top",
     "must be between 0 and 2, got inf"},
    {"RhoListTooShort", "skip_tuning { explicit_rho { rho: [1, 1, 1] } }",
     "skip_tuning.explicit_rho.rho", "must have 4 values, one per skip of this model, got 3"},
    {"RhoListEmpty", "skip_tuning { explicit_rho { } }", "skip_tuning.explicit_rho.rho",
     "must have 4 values"},
    {"RhoListValue", "skip_tuning { explicit_rho { rho: [1, 1, 3, 1] } }",
     "skip_tuning.explicit_rho.rho[2]", "must be between 0 and 2, got 3"},
    {"PresetUnknown", "skip_tuning { preset: 'best' }", "skip_tuning.preset",
     "\"default\" (any solver)"},
    {"PresetOfAnotherSolver", "skip_tuning { preset: 'sharp' }", "skip_tuning.preset",
     "\"sharp\" (euler)"},
    {"PresetOfAModelWithout", "model: 'grey' skip_tuning { preset: 'default' }",
     "skip_tuning.preset", "must not be set: this model has no presets"},
    {"PresetOversized", absl::StrCat("skip_tuning { preset: '", kLong, "' }"), "skip_tuning.preset",
     "at most 256 bytes"},
    {"PresetWithNoise", "skip_tuning { preset: 'default' noise { window { } } }",
     "skip_tuning.noise", "must not be set together with preset"},
    {"NoiseEmpty", "skip_tuning { noise { } }", "skip_tuning.noise", "window, ramp or knots"},
    {"WindowNegative", "skip_tuning { noise { window { sigma_lo: -1 } } }",
     "skip_tuning.noise.window.sigma_lo", "at least 0, got -1"},
    {"WindowReversed", "skip_tuning { noise { window { sigma_lo: 5 sigma_hi: 1 } } }",
     "skip_tuning.noise.window.sigma_hi", "at least 5 (sigma_lo), got 1"},
    {"WindowInfinite", "skip_tuning { noise { window { sigma_hi: inf } } }",
     "skip_tuning.noise.window.sigma_hi", "a finite number of at least 0"},
    {"RampDirection", "skip_tuning { noise { ramp { direction: 7 } } }",
     "skip_tuning.noise.ramp.direction", "STRONGEST_AT_HIGH_SIGMA or "},
    {"KnotsEmpty", "skip_tuning { noise { knots { } } }", "skip_tuning.noise.knots.knots",
     "between 1 and 64 knots, got 0"},
    {"KnotStrength", "skip_tuning { noise { knots { knots { sigma: 1 strength: 1.5 } } } }",
     "skip_tuning.noise.knots.knots[0].strength", "must be between -1 and 1, got 1.5"},
    {"KnotSigma", "skip_tuning { noise { knots { knots { sigma: 0 strength: 1 } } } }",
     "skip_tuning.noise.knots.knots[0].sigma", "a finite number above 0, got 0"},
    {"KnotsDecreasing",
     "skip_tuning { noise { knots { knots { sigma: 2 strength: 1 } knots { sigma: 1 strength: 1 } "
     "} } }",
     "skip_tuning.noise.knots.knots[1].sigma", "above that of the knot before it (2), got 1"},
    {"FormatUnknown", "output { format: 9 }", "output.format",
     "IMAGE_FORMAT_PNG, IMAGE_FORMAT_WEBP or IMAGE_FORMAT_RAW, got 9"},
    {"ScaleZero", "output { scale: 0 }", "output.scale", "must be between 1 and 16, got 0"},
    {"ScaleTooLarge", "output { scale: 17 }", "output.scale", "must be between 1 and 16, got 17"},
    {"PreviewNegative", "output { preview_every: -1 }", "output.preview_every",
     "must be between 0 and 1024, got -1"},
    {"PreviewTooLarge", "output { preview_every: 1025 }", "output.preview_every",
     "must be between 0 and 1024, got 1025"},
    {"PriorityUnknown", "priority: 4", "priority",
     "PRIORITY_LOW, PRIORITY_NORMAL or PRIORITY_HIGH"},
};

TEST_P(BadRequestTest, IsRefusedNamingTheFieldAndWhatIsValid) {
  const absl::Status status = Resolve(Request(GetParam().request));
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(GetFieldViolations(status),
              ElementsAre(AllOf(Field(&FieldViolation::field, GetParam().field),
                                Field(&FieldViolation::description, HasSubstr(GetParam().valid)))));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().field));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr(kLong))) << "long texts are cut";
}

INSTANTIATE_TEST_SUITE_P(Fields, BadRequestTest, ::testing::ValuesIn(kBadRequests),
                         [](const auto& info) { return info.param.name; });

class RequestViolationsTest : public ::testing::Test {
 protected:
  std::vector<FieldViolation> Violations(const v1::GenerateRequest& request) {
    return GetFieldViolations(
        ResolveRequest(request, models_.registry, RequestLimits(), [] { return 1u; }).status());
  }
  TestModels models_;
};

TEST_F(RequestViolationsTest, AllAreReportedAtOnce) {
  const auto field = [](const char* name) { return Field(&FieldViolation::field, name); };
  EXPECT_THAT(
      Violations(Request("count: 0 sampler { nfe: 18 churn { s_churn: -1 } } "
                         "skip_tuning { rho: 3 } output { scale: 0 } priority: 9")),
      ElementsAre(field("sampler.nfe"), field("sampler.churn.s_churn"), field("skip_tuning.rho"),
                  field("output.scale"), field("priority"), field("count")));
}

TEST_F(RequestViolationsTest, TheImageOfARequestThatIsWrongAnywayIsNotDecoded) {
  v1::GenerateRequest request;
  request.mutable_input_image()->set_picture("no picture");
  request.mutable_input_image()->set_strength(0.5);
  EXPECT_THAT(Violations(request),
              ElementsAre(Field(&FieldViolation::field, "input_image.picture")));
  request.set_count(0);
  EXPECT_THAT(Violations(request), ElementsAre(Field(&FieldViolation::field, "count")));
}

TEST_F(RequestViolationsTest, HundredsAreCutToAFewAndCounted) {
  v1::GenerateRequest request;
  for (int i = 0; i < 64; ++i) request.add_classes()->set_index(-1);
  const std::vector<FieldViolation> violations = Violations(request);
  EXPECT_THAT(violations, SizeIs(16));
  EXPECT_THAT(violations.back().description, HasSubstr("(and 48 more violations)"));
}

TEST_F(RequestViolationsTest, AListOfThousandsIsOneViolation) {
  v1::GenerateRequest request;
  for (uint32_t i = 0; i < 60000; ++i) request.add_seeds(i);
  const std::vector<FieldViolation> violations = Violations(request);
  ASSERT_THAT(violations, SizeIs(1));
  EXPECT_EQ(violations[0].field, "seeds");
  EXPECT_THAT(violations[0].description, HasSubstr("at most 64 values, got 60000"));
}

TEST_F(RequestViolationsTest, FieldsThisServerDoesNotKnowAreRefusedWhereverTheyAre) {
  v1::GenerateRequest request = Request("classes { index: 1 } sampler { nfe: 9 }");
  const auto add_unknown = [](google::protobuf::Message& message) {
    message.GetReflection()->MutableUnknownFields(&message)->AddVarint(77, 1);
  };
  add_unknown(request);
  add_unknown(*request.mutable_sampler());
  add_unknown(*request.mutable_classes(0));
  const std::vector<FieldViolation> violations = Violations(request);
  for (const char* field : {"#77", "sampler.#77", "classes[0].#77"}) {
    EXPECT_THAT(violations, Contains(Field(&FieldViolation::field, field)));
  }
  EXPECT_THAT(violations[0].description, HasSubstr("no field number 77"));
}

TEST_F(RequestViolationsTest, TextIsCutBetweenCharacters) {
  std::string name;
  for (int i = 0; i < 200; ++i) name += "\u00e9";  // two bytes each
  v1::GenerateRequest request;
  request.add_classes()->set_name("a" + name);
  const std::vector<FieldViolation> violations = Violations(request);
  ASSERT_THAT(violations, SizeIs(1));
  // 64 bytes would end in the middle of the 32nd.
  EXPECT_THAT(violations[0].description, HasSubstr("\u00e9\"... (401 bytes)"));
}

}  // namespace
}  // namespace skipstream
