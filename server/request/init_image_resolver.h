// Resolves the `input_image` field of a request.
#ifndef SKIPSTREAM_SERVER_REQUEST_INIT_IMAGE_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_INIT_IMAGE_RESOLVER_H_

#include <cstdint>
#include <optional>

#include "model/executor.h"
#include "model/network_info.h"
#include "server/request/request_limits.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Returns the position along the schedule at which a sample starts, above 0 and at most 1. It is
// input_image.strength, by default 0.6, or 1 with a mask. It is 1 without an init image, with
// explicit levels, or if a violation was added.
double ResolveStrength(const v1::GenerateRequest& request, Violations& violations);

// Holds an init image and its mask, both of the model's size.
struct ResolvedInitImage {
  Image image;
  std::optional<Image> mask;  // one channel

  // Returns the bytes that it takes in the resolved request.
  int64_t bytes() const {
    return static_cast<int64_t>(image.data.size() + (mask ? mask->data.size() : 0));
  }
};

// Decodes image and mask. Returns nothing if a violation was added.
std::optional<ResolvedInitImage> ResolveInitImage(const v1::InputImage& image,
                                                  const NetworkInfo& model,
                                                  const RequestLimits& limits,
                                                  Violations& violations);

// Adds a violation of `count` if `count` images would carry `bytes` of an init image too often.
void CheckCountWithInitImage(int count, int64_t bytes, Violations& violations);

// Returns the field with raw values and no strength: explicit levels say where the sample starts.
v1::InputImage ToProto(const ResolvedInitImage& image);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_INIT_IMAGE_RESOLVER_H_
