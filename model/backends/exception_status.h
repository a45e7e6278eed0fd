#ifndef SKIPSTREAM_MODEL_BACKENDS_EXCEPTION_STATUS_H_
#define SKIPSTREAM_MODEL_BACKENDS_EXCEPTION_STATUS_H_

#include "absl/status/status.h"

namespace skipstream {

// Returns the error of the exception being handled, for a catch block. ResourceExhausted if memory
// ran out, else Internal. All of LibTorch's exceptions end here.
absl::Status StatusOfCurrentException();

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_EXCEPTION_STATUS_H_
