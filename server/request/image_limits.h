// How large images may be so that what carries them fits into a message.
#ifndef SKIPSTREAM_SERVER_REQUEST_IMAGE_LIMITS_H_
#define SKIPSTREAM_SERVER_REQUEST_IMAGE_LIMITS_H_

#include <cstdint>

#include "model/network_info.h"
#include "server/request/request_limits.h"

namespace skipstream {

// gRPC's default limit of a message, which clients need not raise.
inline constexpr int64_t kClientMessageBytes = 4 << 20;
// Bytes of an enlarged image (1024x1024 RGB).
inline constexpr int64_t kMaxImageBytes = 3 << 20;
// The longest request: an image of that size in any 8-bit format with a mask, and 1024 levels.
inline constexpr int64_t kMaxRequestBytes = 5 << 20;

// Raw values of one image of this model, or of a mask for it.
int64_t ImageBytes(const NetworkInfo& model);
int64_t MaskBytes(const NetworkInfo& model);

// The largest scale a request for this model may ask for, at least 1: a finished image with the
// request that makes it, in which it carries `init_image_bytes` of an input image (twice, in the
// event and in a PNG's text), has to fit into a message.
int MaxScale(const NetworkInfo& model, const RequestLimits& limits, int64_t init_image_bytes = 0);

// Every finished image carries the input image, so that many of them bring it back many times: how
// many images a request with `init_image_bytes` of it may ask for, so that this stays below
// kMaxRepeatedBytes. At least 1.
inline constexpr int64_t kMaxRepeatedBytes = 32 << 20;
int64_t MaxCountWithInitImage(int64_t init_image_bytes);

// Whether images fit into messages that way at scale 1.
bool FitsIntoMessage(const NetworkInfo& model, int64_t init_image_bytes);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_IMAGE_LIMITS_H_
