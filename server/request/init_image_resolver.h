// The `input_image` field of a request.
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

// Where along the schedule a sample starts, above 0 and at most 1: what the input image says, 1
// without one. 1 too if a violation was added.
double ResolveStrength(const v1::GenerateRequest& request, Violations& violations);

// Both of the model's size.
struct ResolvedInitImage {
  Image image;
  std::optional<Image> mask;  // one channel

  // As the resolved request carries it.
  int64_t bytes() const {
    return static_cast<int64_t>(image.data.size() + (mask ? mask->data.size() : 0));
  }
};

// Decodes image and mask. Nothing if a violation was added.
std::optional<ResolvedInitImage> ResolveInitImage(const v1::InputImage& image,
                                                  const NetworkInfo& model,
                                                  const RequestLimits& limits,
                                                  Violations& violations);

// Adds a violation of `count` if so many images would carry `bytes` of an input image too often.
void CheckCountWithInitImage(int count, int64_t bytes, Violations& violations);

// Raw values, no strength: explicit levels say where the sample starts.
v1::InputImage ToProto(const ResolvedInitImage& image);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_INIT_IMAGE_RESOLVER_H_
