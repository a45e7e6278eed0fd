// Any bytes as a GenerateRequest: it is refused in words, or resolves to a request that resolves to
// itself, within the limits it is checked against.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "server/request/request_resolver.h"
#include "tests/testing/test_models.h"

namespace skipstream {
namespace {

void Require(bool promise, const std::string& what) {
  if (promise) return;
  std::fprintf(stderr, "broken promise: %s\n", what.c_str());
  std::abort();
}

void ResolveAnything(const uint8_t* data, size_t size) {
  static const TestModels* const models = [] {
    google::protobuf::SetLogHandler(nullptr);  // as in the server; fuzzing is slow otherwise
    return new TestModels();
  }();
  // Small, so that what is within them is quick.
  static const RequestLimits limits = {.max_count = 8, .max_nfe = 64, .max_scale = 4};
  v1::GenerateRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return;
  const absl::StatusOr<ResolvedGeneration> resolved =
      ResolveRequest(request, models->registry, limits, [] { return 7u; });
  if (!resolved.ok()) {
    Require(!resolved.status().message().empty(), "a refusal has words");
    return;
  }
  Require(resolved->samples.size() <= static_cast<size_t>(limits.max_count), "at most max_count");
  Require(resolved->plan->nfe() <= limits.max_nfe, "at most max_nfe");
  const absl::StatusOr<ResolvedGeneration> again =
      ResolveRequest(resolved->request, models->registry, limits, [] { return 8u; });
  Require(again.ok(), "what was resolved resolves: " + again.status().ToString() + "\n" +
                          resolved->request.DebugString());
  Require(again->request.SerializeAsString() == resolved->request.SerializeAsString(),
          "what was resolved is a fixed point:\n" + resolved->request.DebugString() + "became\n" +
              again->request.DebugString());
}

}  // namespace
}  // namespace skipstream

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skipstream::ResolveAnything(data, size);
  return 0;
}
