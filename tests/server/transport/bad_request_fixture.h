// Requests that must be refused, each naming one field.
#ifndef SKIPSTREAM_TESTS_SERVER_TRANSPORT_BAD_REQUEST_FIXTURE_H_
#define SKIPSTREAM_TESTS_SERVER_TRANSPORT_BAD_REQUEST_FIXTURE_H_

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "server/engine/error_details.h"
#include "server/transport/request_resolver.h"
#include "tests/server/transport/transport_harness.h"

namespace skipstream {

struct BadRequest {
  std::string name;
  std::string request;  // text format
  std::string field;
  std::string valid;  // part of the description: what would be valid
};

inline void PrintTo(const BadRequest& bad, std::ostream* out) { *out << bad.name; }

class BadRequestTest : public ::testing::TestWithParam<BadRequest> {
 protected:
  absl::Status Resolve(const v1::GenerateRequest& request) {
    return ResolveRequest(request, models_.registry, RequestLimits(), [] { return 1u; }).status();
  }
  TestModels models_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_SERVER_TRANSPORT_BAD_REQUEST_FIXTURE_H_
