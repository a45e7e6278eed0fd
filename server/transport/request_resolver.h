// Turns what a request says into what it means: every field checked, every default filled in.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_REQUEST_RESOLVER_H_
#define SKIPSTREAM_SERVER_TRANSPORT_REQUEST_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/network_info.h"
#include "model/sampler/sampler.h"
#include "server/engine/generation_job.h"
#include "server/engine/model_registry.h"
#include "server/transport/image_encoder.h"
#include "server/transport/request_limits.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Draws the seed of one image; thread-safe.
using SeedSource = std::function<uint32_t()>;

struct ResolvedGeneration {
  std::shared_ptr<const LoadedModel> model;
  Solver solver = Solver::kHeun;
  std::shared_ptr<const SamplingPlan> plan;
  std::vector<SampleSpec> samples;  // one per image
  Priority priority = Priority::kNormal;
  int preview_every = 0;
  PictureFormat format = PictureFormat::kPng;
  int scale = 1;
  // The same request with every default, seed, level and rho filled in. A fixed point: it resolves
  // to itself, so sent again it gives the same images.
  v1::GenerateRequest request;

  // Rows that all images together put into batches.
  int64_t rows() const { return static_cast<int64_t>(samples.size()) * plan->rows(); }
  // Evaluations of all images as users count them.
  int64_t evaluations() const { return static_cast<int64_t>(samples.size()) * plan->nfe(); }
};

// Pure but for `draw_seed`. Errors:
//   INVALID_ARGUMENT     with one field violation per mistake, all of them at once
//   NOT_FOUND            no model of that name (lists those there are)
//   FAILED_PRECONDITION  model_sha256 is not the model's
absl::StatusOr<ResolvedGeneration> ResolveRequest(const v1::GenerateRequest& request,
                                                  const ModelRegistry& models,
                                                  const RequestLimits& limits,
                                                  const SeedSource& draw_seed);

// The resolved request that makes image `index` of `resolved` alone.
v1::GenerateRequest RequestForImage(const ResolvedGeneration& resolved, int index);

// A request as protobuf JSON with the field names of the .proto, the same bytes for the same
// request.
std::string RequestAsJson(const v1::GenerateRequest& request);

v1::ImageFormat ToProto(PictureFormat format);

// The largest scale a request for this model may ask for: an enlarged picture has at most
// kMaxPictureBytes (1024x1024 RGB), so that a client with gRPC's default limit of 4 MiB a message
// can take it in any format.
inline constexpr int64_t kMaxPictureBytes = 3 << 20;
int MaxScale(const NetworkInfo& model, const RequestLimits& limits);

// OK if `name` can be the name of a model: 1 to 64 letters, digits, '.', '_' or '-', starting with
// a letter or digit. Otherwise says what is valid.
absl::Status ValidateModelName(absl::string_view name);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_REQUEST_RESOLVER_H_
