// Resolves the `classes` field of a request.
#ifndef SKIPSTREAM_SERVER_REQUEST_CLASS_RESOLVER_H_
#define SKIPSTREAM_SERVER_REQUEST_CLASS_RESOLVER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "model/network_info.h"
#include "server/request/violations.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Returns one class index per seed; empty for a model without classes. Returns nothing if a
// violation was added.
std::optional<std::vector<int>> ResolveClasses(
    const google::protobuf::RepeatedPtrField<v1::ClassSelector>& classes, const NetworkInfo& model,
    const std::vector<uint32_t>& seeds, Violations& violations);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_CLASS_RESOLVER_H_
