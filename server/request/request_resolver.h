// Resolves a request: checks every field and fills in every default.
#ifndef SKIPSTREAM_SERVER_REQUEST_REQUEST_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_REQUEST_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/image/image_encoder.h"
#include "model/diffusion/solver.h"
#include "model/diffusion/solver_step.h"
#include "server/engine/generation_job.h"
#include "server/engine/model_registry.h"
#include "server/request/request_limits.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Draws the seed of one image; thread-safe.
using SeedSource = std::function<uint32_t()>;

struct ResolvedGeneration {
  std::shared_ptr<const LoadedModel> model;
  std::shared_ptr<const LoadedModel> guide;  // null without autoguidance
  Solver solver = Solver::kHeun;
  std::shared_ptr<const SamplingPlan> plan;
  std::shared_ptr<const InitImage> image;  // null: the samples start from noise
  std::vector<SampleSpec> samples;         // one per image
  Priority priority = Priority::kNormal;
  int preview_every = 0;
  ImageFormat format = ImageFormat::kPng;
  int scale = 1;
  // The same request with every default, seed, noise level and rho filled in, images as raw values.
  // A fixed point: it resolves to itself, so sent again it gives the same images.
  v1::GenerateRequest request;

  // Returns the rows that all images together put into batches.
  int64_t rows() const { return static_cast<int64_t>(samples.size()) * plan->rows(); }
  // Returns an upper bound of the memory that the request holds while it is served. It counts its
  // plan, its init image, and its unread results, at most `max_waiting` bytes.
  int64_t bytes(int64_t max_waiting) const;
  // Returns the evaluations of all images as users count them.
  int64_t evaluations() const { return static_cast<int64_t>(samples.size()) * plan->nfe(); }
};

// Resolves a request; pure but for `draw_seed`. Errors:
//   INVALID_ARGUMENT     with one field violation per mistake, all of them at once
//   NOT_FOUND            no model or guide of that name (lists the known ones)
//   FAILED_PRECONDITION  model_sha256 is not the model's, or guide_model_sha256 not the guide's
absl::StatusOr<ResolvedGeneration> ResolveRequest(const v1::GenerateRequest& request,
                                                  const ModelRegistry& models,
                                                  const RequestLimits& limits,
                                                  const SeedSource& draw_seed);

// Returns the resolved request that makes image `index` of `resolved` alone.
v1::GenerateRequest RequestForImage(const ResolvedGeneration& resolved, int index);

// Returns a request as protobuf JSON with the field names of the .proto, the same bytes for the
// same request.
std::string RequestAsJson(const v1::GenerateRequest& request);

v1::ImageFormat ToProto(ImageFormat format);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_REQUEST_RESOLVER_H_
