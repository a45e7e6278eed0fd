#include "server/request/init_image_resolver.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/image/image_decoder.h"
#include "server/request/image_limits.h"

namespace skipstream {
namespace {

constexpr double kDefaultStrength = 0.6;

std::optional<Image> Decode(const char* field, const std::string& data, int channels,
                            const NetworkInfo& model, const RequestLimits& limits,
                            Violations& violations) {
  absl::StatusOr<Image> pixels =
      DecodeImage(data, {.height = model.height, .width = model.width, .channels = channels},
                  MaxScale(model, limits));
  if (pixels.ok()) return *std::move(pixels);
  violations.Add(field, std::string(pixels.status().message()));
  return std::nullopt;
}

}  // namespace

double ResolveStrength(const v1::GenerateRequest& request, Violations& violations) {
  if (!request.has_input_image() ||
      (request.sampler().has_explicit_levels() && !request.input_image().has_strength())) {
    return 1.0;
  }
  const v1::InputImage& image = request.input_image();
  if (!image.has_strength()) return image.mask().empty() ? kDefaultStrength : 1.0;
  if (!violations.CheckRange("input_image.strength", image.strength(), 0.0, 1.0,
                             /*above_min=*/true)) {
    return 1.0;
  }
  if (request.sampler().has_explicit_levels()) {
    violations.Add("input_image.strength",
                   "must not be set together with explicit_levels, the first of which is where "
                   "the sample starts");
    return 1.0;
  }
  return image.strength();
}

std::optional<ResolvedInitImage> ResolveInitImage(const v1::InputImage& image,
                                                  const NetworkInfo& model,
                                                  const RequestLimits& limits,
                                                  Violations& violations) {
  if (image.picture().empty()) {
    violations.Add("input_image.picture", "must be set");
    return std::nullopt;
  }
  const bool has_mask = !image.mask().empty();
  if (!FitsIntoMessage(model, ImageBytes(model) + (has_mask ? MaskBytes(model) : 0))) {
    violations.Add("input_image",
                   absl::StrCat("must not be set: images of this model (", model.width, "x",
                                model.height, has_mask ? ") with a mask" : ")",
                                " are too large to travel with each finished image"));
    return std::nullopt;
  }
  std::optional<Image> decoded =
      Decode("input_image.picture", image.picture(), model.channels, model, limits, violations);
  std::optional<Image> mask;
  if (has_mask) mask = Decode("input_image.mask", image.mask(), 1, model, limits, violations);
  if (!decoded || (has_mask && !mask)) return std::nullopt;
  return ResolvedInitImage{*std::move(decoded), std::move(mask)};
}

void CheckCountWithInitImage(int count, int64_t bytes, Violations& violations) {
  const int64_t most = MaxCountWithInitImage(bytes);
  if (count <= most) return;
  violations.Add("count", absl::StrCat("must be at most ", most,
                                       " with an input image of this size, which travels with each "
                                       "finished image, got ",
                                       count));
}

v1::InputImage ToProto(const ResolvedInitImage& image) {
  v1::InputImage proto;
  proto.set_picture(std::string(image.image.data.begin(), image.image.data.end()));
  if (image.mask) proto.set_mask(std::string(image.mask->data.begin(), image.mask->data.end()));
  return proto;
}

}  // namespace skipstream
