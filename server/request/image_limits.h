// Limits image sizes so that each image's message fits gRPC's limit.
#ifndef SKIPSTREAM_SERVER_REQUEST_IMAGE_LIMITS_H_
#define SKIPSTREAM_SERVER_REQUEST_IMAGE_LIMITS_H_

#include <cstdint>

#include "model/network_info.h"
#include "server/request/request_limits.h"

namespace skipstream {

// Limits a message to gRPC's default, which clients need not raise.
inline constexpr int64_t kClientMessageBytes = 4 << 20;
// Limits the bytes of an enlarged image (1024x1024 RGB).
inline constexpr int64_t kMaxImageBytes = 3 << 20;
// Limits a request. The longest valid one holds an image of that size in any 8-bit format with a
// mask, and 1024 noise levels.
inline constexpr int64_t kMaxRequestBytes = 5 << 20;

// Return the bytes of the raw values of one image of this model, or of a mask for it.
int64_t ImageBytes(const NetworkInfo& model);
int64_t MaskBytes(const NetworkInfo& model);

// Returns the largest scale that a request for this model may ask for, at least 1. A finished
// image's message has to fit, and includes the request that makes it. That request carries
// `init_image_bytes` of an init image twice: in the event and in a PNG's text.
int MaxScale(const NetworkInfo& model, const RequestLimits& limits, int64_t init_image_bytes = 0);

// Returns the images that a request with `init_image_bytes` of an init image may ask for, at least
// 1. Every finished image carries the init image; all copies together stay below kMaxRepeatedBytes.
inline constexpr int64_t kMaxRepeatedBytes = 32 << 20;
int64_t MaxCountWithInitImage(int64_t init_image_bytes);

// Returns true if an image and its request fit into a message at scale 1.
bool FitsIntoMessage(const NetworkInfo& model, int64_t init_image_bytes);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_IMAGE_LIMITS_H_
