// Holds the ranges of requests that the operator sets.
#ifndef SKIPSTREAM_SERVER_REQUEST_REQUEST_LIMITS_H_
#define SKIPSTREAM_SERVER_REQUEST_REQUEST_LIMITS_H_

namespace skipstream {

struct RequestLimits {
  int max_count = 64;  // images per request
  int max_nfe = 1024;  // network evaluations per image; at least 19, the default of a request
  int max_scale = 16;  // enlargement
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_REQUEST_LIMITS_H_
