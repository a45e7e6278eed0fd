// Requests that must be refused, each naming one field.
#ifndef SKIPSTREAM_TESTS_SERVER_REQUEST_BAD_REQUEST_FIXTURE_H_
#define SKIPSTREAM_TESTS_SERVER_REQUEST_BAD_REQUEST_FIXTURE_H_

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "base/error_details.h"
#include "server/request/request_resolver.h"
#include "tests/testing/test_models.h"

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

#endif  // SKIPSTREAM_TESTS_SERVER_REQUEST_BAD_REQUEST_FIXTURE_H_
