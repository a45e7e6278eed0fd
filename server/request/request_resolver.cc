#include "server/request/request_resolver.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/image/image_decoder.h"
#include "server/request/class_resolver.h"
#include "server/request/guidance_resolver.h"
#include "server/request/image_limits.h"
#include "server/request/init_image_resolver.h"
#include "server/request/model_reference.h"
#include "server/request/request_id.h"
#include "server/request/sampler_resolver.h"
#include "server/request/skip_tuning_resolver.h"
#include "server/request/violations.h"

namespace skipstream {
namespace {

// The number of images, from `count`, else from the lists.
std::optional<int> ResolveCount(const v1::GenerateRequest& request, const RequestLimits& limits,
                                Violations& violations) {
  if (request.has_count()) {
    if (!violations.CheckRange("count", int64_t{request.count()}, 1, limits.max_count)) {
      return std::nullopt;
    }
    return request.count();
  }
  for (const auto& [field, size] :
       {std::pair("seeds", request.seeds_size()), std::pair("classes", request.classes_size())}) {
    if (size > limits.max_count) {
      violations.Add(field,
                     absl::StrCat("must have at most ", limits.max_count, " values, got ", size));
      return std::nullopt;
    }
  }
  return std::max({request.seeds_size(), request.classes_size(), 1});
}

std::optional<std::vector<uint32_t>> ResolveSeeds(const v1::GenerateRequest& request, int count,
                                                  const SeedSource& draw_seed,
                                                  Violations& violations) {
  std::vector<uint32_t> seeds(request.seeds().begin(), request.seeds().end());
  if (seeds.empty()) {
    seeds.resize(count);
    std::generate(seeds.begin(), seeds.end(), draw_seed);
  } else if (seeds.size() == 1) {
    seeds.resize(count);
    for (int i = 1; i < count; ++i) seeds[i] = seeds[0] + static_cast<uint32_t>(i);
  } else if (seeds.size() != static_cast<size_t>(count)) {
    violations.Add("seeds", absl::StrCat("must have 0, 1 or ", count, " values for ", count,
                                         " images, got ", seeds.size()));
    return std::nullopt;
  }
  return seeds;
}

std::optional<Priority> ResolvePriority(v1::Priority priority, Violations& violations) {
  switch (priority) {
    case v1::PRIORITY_LOW:
      return Priority::kLow;
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      return Priority::kNormal;
    case v1::PRIORITY_HIGH:
      return Priority::kHigh;
    default:
      violations.Add("priority",
                     absl::StrCat("must be PRIORITY_LOW, PRIORITY_NORMAL or PRIORITY_HIGH, got ",
                                  static_cast<int>(priority)));
      return std::nullopt;
  }
}

std::optional<ImageFormat> ResolveFormat(v1::ImageFormat format, Violations& violations) {
  switch (format) {
    case v1::IMAGE_FORMAT_UNSPECIFIED:
    case v1::IMAGE_FORMAT_PNG:
      return ImageFormat::kPng;
    case v1::IMAGE_FORMAT_WEBP:
      return ImageFormat::kWebp;
    case v1::IMAGE_FORMAT_RAW:
      return ImageFormat::kRaw;
    default:
      violations.Add(
          "output.format",
          absl::StrCat("must be IMAGE_FORMAT_PNG, IMAGE_FORMAT_WEBP or IMAGE_FORMAT_RAW, got ",
                       static_cast<int>(format)));
      return std::nullopt;
  }
}

v1::Priority ToProto(Priority priority) {
  switch (priority) {
    case Priority::kLow:
      return v1::PRIORITY_LOW;
    case Priority::kNormal:
      return v1::PRIORITY_NORMAL;
    case Priority::kHigh:
      return v1::PRIORITY_HIGH;
  }
  return v1::PRIORITY_UNSPECIFIED;
}

// Holds the models that a request names.
struct NamedModels {
  std::shared_ptr<const LoadedModel> model;
  std::shared_ptr<const LoadedModel> guide;  // null: none named
};

// Before anything that depends on them can be checked.
absl::StatusOr<NamedModels> FindModels(const v1::GenerateRequest& request,
                                       const ModelRegistry& models, Violations& violations) {
  const ModelReference model = {
      .field = "model", .name = request.model(), .sha256 = request.model_sha256()};
  const ModelReference guide = GuideReference(request.guidance());
  CheckModelReference(model, violations);
  CheckModelReference(guide, violations);
  if (!violations.empty()) return violations.ToStatus();

  NamedModels named;
  absl::StatusOr<std::shared_ptr<const LoadedModel>> found = FindModel(model, models);
  if (!found.ok()) return found.status();
  named.model = *std::move(found);
  if (!guide.name.empty()) {
    found = FindModel(guide, models);
    if (!found.ok()) return found.status();
    named.guide = *std::move(found);
  }
  return named;
}

}  // namespace

absl::StatusOr<ResolvedGeneration> ResolveRequest(const v1::GenerateRequest& request,
                                                  const ModelRegistry& models,
                                                  const RequestLimits& limits,
                                                  const SeedSource& draw_seed) {
  Violations violations;
  violations.CheckNoUnknownFields(request);
  const absl::StatusOr<NamedModels> named = FindModels(request, models, violations);
  if (!named.ok()) return named.status();
  const LoadedModel& model = *named->model;
  const LoadedModel* const guide = named->guide.get();
  const NetworkInfo& info = model.info();

  if (!request.request_id().empty() && !IsValidRequestId(request.request_id())) {
    violations.Add("request_id",
                   absl::StrCat("must be 1 to ", kMaxRequestIdBytes,
                                " printable ASCII characters, got ", Quoted(request.request_id())));
  }
  const double strength = ResolveStrength(request, violations);
  std::optional<SamplingParams> params =
      ResolveSampler(request.sampler(), strength, info, limits, violations);
  const std::optional<SkipTuning> tuning =
      ResolveSkipTuning(request.skip_tuning(), info, params ? &*params : nullptr, violations);
  const std::optional<Guidance> guidance =
      ResolveGuidance(request.guidance(), info, guide, violations);
  const std::optional<ImageFormat> format = ResolveFormat(request.output().format(), violations);
  const int scale = request.output().has_scale() ? request.output().scale() : 1;
  violations.CheckRange("output.scale", int64_t{scale}, 1, MaxScale(info, limits, 0));
  const int preview_every = request.output().preview_every();
  violations.CheckRange("output.preview_every", int64_t{preview_every}, 0, limits.max_nfe);
  const std::optional<Priority> priority = ResolvePriority(request.priority(), violations);

  std::optional<std::vector<uint32_t>> seeds;
  std::optional<std::vector<int>> classes;
  const std::optional<int> count = ResolveCount(request, limits, violations);
  if (count) {
    seeds = ResolveSeeds(request, *count, draw_seed, violations);
    if (seeds) classes = ResolveClasses(request.classes(), info, *seeds, violations);
  }
  std::optional<ResolvedInitImage> image;
  // Decoding costs something: not for a request that is wrong anyway.
  if (request.has_input_image() && violations.empty()) {
    image = ResolveInitImage(request.input_image(), info, limits, violations);
  }
  if (image) {
    CheckCountWithInitImage(*count, image->bytes(), violations);
    violations.CheckRange("output.scale", int64_t{scale}, 1,
                          MaxScale(info, limits, image->bytes()));
  }
  if (image && image->mask && params && params->final_sigma > 0.0) {
    violations.Add("sampler.final_step",
                   "must be FINAL_STEP_ZERO with input_image.mask: otherwise noise of the lowest "
                   "level stays in what the mask keeps");
  }
  if (!violations.empty()) return violations.ToStatus();

  params->skip_tuning = *tuning;
  params->num_skips = info.num_skips;
  params->parametrization = info.parametrization;
  params->starts_from_image = image.has_value();
  const bool is_guided = IsGuided(*guidance);
  if (is_guided) params->guidance = *guidance;
  absl::StatusOr<SamplingPlan> plan = CompilePlan(*params);
  if (!plan.ok()) {
    violations.Add(
        request.sampler().has_explicit_levels() ? "sampler.explicit_levels.sigmas" : "sampler",
        std::string(plan.status().message()));
  } else if (guide != nullptr) {
    CheckGuideLevels(*plan, guide->info(), violations);
  }
  if (!violations.empty()) return violations.ToStatus();

  ResolvedGeneration resolved;
  resolved.model = named->model;
  if (is_guided) resolved.guide = named->guide;
  resolved.solver = params->solver;
  resolved.plan = std::make_shared<const SamplingPlan>(*std::move(plan));
  if (image) {
    resolved.image = std::make_shared<const InitImage>(
        MakeInitImage(image->image, image->mask ? &*image->mask : nullptr));
  }
  resolved.priority = *priority;
  resolved.preview_every = preview_every;
  resolved.format = *format;
  resolved.scale = scale;

  v1::GenerateRequest& full = resolved.request;
  full.set_model(model.name());
  full.set_model_sha256(info.sha256);
  full.set_count(static_cast<int>(seeds->size()));
  for (size_t i = 0; i < seeds->size(); ++i) {
    const int class_index = classes->empty() ? -1 : (*classes)[i];
    resolved.samples.push_back({.seed = (*seeds)[i], .class_index = class_index});
    full.add_seeds((*seeds)[i]);
    if (class_index >= 0) full.add_classes()->set_index(class_index);
  }
  *full.mutable_sampler() = ToProto(*params);
  *full.mutable_skip_tuning() = ToProto(*tuning);
  full.mutable_output()->set_format(ToProto(*format));
  full.mutable_output()->set_scale(scale);
  full.mutable_output()->set_preview_every(preview_every);
  full.mutable_output()->set_no_metadata(request.output().no_metadata());
  full.set_priority(ToProto(*priority));
  if (is_guided) *full.mutable_guidance() = ToProto(*guidance, guide);
  if (image) *full.mutable_input_image() = ToProto(*image);
  return resolved;
}

int64_t ResolvedGeneration::bytes(int64_t max_waiting) const {
  // An encoded image is hardly larger than its pixels, and what comes with it, twice in a PNG, is
  // the resolved request.
  constexpr int64_t kOverhead = 1024;
  const NetworkInfo& info = model->info();
  const auto request_bytes = static_cast<int64_t>(request.ByteSizeLong());
  const int64_t encoded_bytes = int64_t{info.width} * scale * info.height * scale * 3;
  const int64_t results =
      static_cast<int64_t>(samples.size()) * (encoded_bytes + 3 * request_bytes + kOverhead);
  int64_t plan_bytes = 0;
  for (const SolverStep& step : plan->steps) {
    plan_bytes += static_cast<int64_t>(sizeof(SolverStep));
    for (const DenoiserTerm& term : step.terms) {
      plan_bytes += static_cast<int64_t>(sizeof(DenoiserTerm) + term.rho.size() * sizeof(float));
    }
  }
  const int64_t init_image_bytes =
      image == nullptr
          ? 0
          : static_cast<int64_t>((image->pixels.size() + image->mask.size()) * sizeof(float));
  return request_bytes + plan_bytes + init_image_bytes + std::min(results, max_waiting);
}

v1::GenerateRequest RequestForImage(const ResolvedGeneration& resolved, int index) {
  v1::GenerateRequest request = resolved.request;
  request.set_count(1);
  request.clear_seeds();
  request.add_seeds(resolved.request.seeds(index));
  request.clear_classes();
  if (resolved.request.classes_size() > 0) {
    *request.add_classes() = resolved.request.classes(index);
  }
  return request;
}

std::string RequestAsJson(const v1::GenerateRequest& request) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  // Cannot fail: a GenerateRequest has no field that JSON cannot hold.
  const auto status = google::protobuf::util::MessageToJsonString(request, &json, options);
  GOOGLE_CHECK(status.ok()) << status.ToString();
  return json;
}

v1::ImageFormat ToProto(ImageFormat format) {
  switch (format) {
    case ImageFormat::kPng:
      return v1::IMAGE_FORMAT_PNG;
    case ImageFormat::kWebp:
      return v1::IMAGE_FORMAT_WEBP;
    case ImageFormat::kRaw:
      return v1::IMAGE_FORMAT_RAW;
  }
  return v1::IMAGE_FORMAT_UNSPECIFIED;
}

}  // namespace skipstream
