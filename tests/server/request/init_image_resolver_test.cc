// Tests the init image of a request.
#include "server/request/init_image_resolver.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/image/image_encoder.h"
#include "server/request/image_limits.h"
#include "server/request/request_resolver.h"
#include "tests/testing/test_models.h"

namespace skipstream {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class InputImageTest : public ::testing::Test {
 protected:
  // "fruit" has 4x4 RGB pixels.
  static Image SomeImage() {
    Image pixels{.height = 4, .width = 4, .channels = 3, .data = {}};
    for (int i = 0; i < 48; ++i) pixels.data.push_back(static_cast<uint8_t>(i * 5));
    return pixels;
  }
  static std::string Raw(const Image& pixels) {
    return std::string(pixels.data.begin(), pixels.data.end());
  }
  static std::string Mask() { return std::string(8, '\xFF') + std::string(8, '\0'); }
  static Image MaskImage() {
    const std::string raw = Mask();
    return {.height = 4, .width = 4, .channels = 1, .data = {raw.begin(), raw.end()}};
  }

  static v1::GenerateRequest WithInitImage(const std::string& text) {
    v1::GenerateRequest request = Request(text);
    request.mutable_input_image()->set_picture(Raw(SomeImage()));
    return request;
  }

  ResolvedGeneration Resolve(const v1::GenerateRequest& request) {
    absl::StatusOr<ResolvedGeneration> resolved =
        ResolveRequest(request, models_.registry, RequestLimits(), [] { return 7u; });
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    return resolved.ok() ? *std::move(resolved) : ResolvedGeneration();
  }
  std::vector<double> Levels(const v1::GenerateRequest& request) {
    const auto sigmas = Resolve(request).request.sampler().explicit_levels().sigmas();
    return {sigmas.begin(), sigmas.end()};
  }

  TestModels models_;
};

TEST_F(InputImageTest, TheSampleStartsFromTheImageAndNoise) {
  const ResolvedGeneration resolved = Resolve(WithInitImage("sampler { nfe: 5 }"));
  ASSERT_NE(resolved.image, nullptr);
  EXPECT_THAT(resolved.image->pixels, SizeIs(48));
  EXPECT_FLOAT_EQ(resolved.image->pixels[1], 15 / 127.5f - 1) << "planes, not pixels";
  EXPECT_THAT(resolved.image->mask, SizeIs(0));
  EXPECT_EQ(resolved.plan->initial.image, 1.0);
  EXPECT_EQ(resolved.plan->initial.latent, resolved.plan->steps[0].sigma);
  EXPECT_EQ(resolved.plan->nfe(), 5) << "all evaluations go into the rest";

  EXPECT_EQ(Resolve(Request("sampler { nfe: 5 }")).plan->initial.image, 0.0);
}

TEST_F(InputImageTest, StrengthSaysWhereOnTheScheduleItStarts) {
  v1::GenerateRequest request = WithInitImage(
      "sampler { solver: SOLVER_EULER nfe: 3 linear { } sigma_min: 1 sigma_max: 11 }");
  EXPECT_THAT(Levels(request), ElementsAre(7, 4, 1)) << "0.6 is the default";
  request.mutable_input_image()->set_strength(0.2);
  EXPECT_THAT(Levels(request), ElementsAre(3, 2, 1));
  request.mutable_input_image()->set_strength(1.0);
  EXPECT_THAT(Levels(request), ElementsAre(11, 6, 1));
  request.mutable_input_image()->set_strength(1e-6);
  EXPECT_THAT(Levels(request),
              ElementsAre(DoubleNear(1.00001, 1e-9), DoubleNear(1.000005, 1e-9), 1));
}

TEST_F(InputImageTest, StrengthFollowsEverySchedule) {
  for (const std::string schedule :
       {"karras { }", "exponential { }", "vp { }", "ve { }", "iddpm { }"}) {
    v1::GenerateRequest request =
        WithInitImage("sampler { solver: SOLVER_EULER nfe: 3 " + schedule + " }");
    const double start = Levels(request).front();
    request.mutable_input_image()->set_strength(1.0);
    const std::vector<double> all = Levels(request);
    EXPECT_LT(start, all.front()) << schedule;
    EXPECT_GT(start, all.back()) << schedule;
    v1::GenerateRequest plain = request;
    plain.clear_input_image();
    EXPECT_EQ(Levels(plain), all) << schedule << ": full strength is the whole schedule";
  }
}

TEST_F(InputImageTest, AMaskMeansFullStrengthUnlessToldOtherwise) {
  v1::GenerateRequest request = WithInitImage("sampler { nfe: 5 }");
  request.mutable_input_image()->set_mask(Mask());
  EXPECT_EQ(Levels(request).front(), 80.0);
  const ResolvedGeneration resolved = Resolve(request);
  ASSERT_THAT(resolved.image->mask, SizeIs(16));
  EXPECT_EQ(resolved.image->mask[0], 1.0f);
  EXPECT_EQ(resolved.image->mask[15], 0.0f);
  request.mutable_input_image()->set_strength(0.5);
  EXPECT_LT(Levels(request).front(), 80.0);
}

TEST_F(InputImageTest, ExplicitLevelsSayWhereItStarts) {
  EXPECT_THAT(Levels(WithInitImage("sampler { explicit_levels { sigmas: [5, 1] } }")),
              ElementsAre(5, 1));
}

TEST_F(InputImageTest, TheResolvedRequestCarriesRawValuesAndNoStrength) {
  v1::GenerateRequest request = WithInitImage("sampler { nfe: 5 }");
  v1::InputImage& image = *request.mutable_input_image();
  image.set_picture(EncodeImage(SomeImage(), ImageFormat::kPng, 3, {}).value().data);
  image.set_mask(EncodeImage(MaskImage(), ImageFormat::kPng, 2, {}).value().data);
  image.set_strength(0.3);
  const ResolvedGeneration once = Resolve(request);
  EXPECT_EQ(once.request.input_image().picture(), Raw(SomeImage()));
  EXPECT_EQ(once.request.input_image().mask(), Mask());
  EXPECT_FALSE(once.request.input_image().has_strength());

  const ResolvedGeneration twice = Resolve(once.request);
  EXPECT_TRUE(MessageDifferencer::Equals(once.request, twice.request));
  EXPECT_EQ(once.image->pixels, twice.image->pixels);
  EXPECT_EQ(once.image->mask, twice.image->mask);
  EXPECT_EQ(once.plan->initial.latent, twice.plan->initial.latent);
  EXPECT_TRUE(MessageDifferencer::Equals(RequestForImage(once, 0), once.request));
}

TEST_F(InputImageTest, AColourImageIsGreyForAGreyModel) {
  v1::GenerateRequest request = Request("model: 'grey'");
  const Image colour = {
      .height = 4, .width = 8, .channels = 3, .data = std::vector<uint8_t>(96, 200)};
  request.mutable_input_image()->set_picture(
      EncodeImage(colour, ImageFormat::kWebp, 1, {}).value().data);
  const ResolvedGeneration resolved = Resolve(request);
  EXPECT_EQ(resolved.request.input_image().picture(), std::string(32, '\xC8'));
  EXPECT_THAT(resolved.image->pixels, SizeIs(32));
}

TEST_F(InputImageTest, ModelsWithImagesTooLargeForAMessageTakeNone) {
  NetworkInfo large = FruitInfo();
  large.width = large.height = 700;
  v1::InputImage image;
  image.set_picture("anything");
  Violations violations;
  EXPECT_EQ(ResolveInitImage(image, large, RequestLimits(), violations), std::nullopt);
  EXPECT_THAT(std::string(violations.ToStatus().message()),
              HasSubstr("input_image: must not be set: images of this model (700x700) are too "
                        "large"));
}

TEST_F(InputImageTest, ManyImagesShareOneInitImage) {
  const ResolvedGeneration resolved = Resolve(WithInitImage("count: 5 sampler { nfe: 3 }"));
  EXPECT_THAT(resolved.samples, SizeIs(5));
  EXPECT_EQ(RequestForImage(resolved, 4).input_image().picture(), Raw(SomeImage()));
}

}  // namespace
}  // namespace skipstream
