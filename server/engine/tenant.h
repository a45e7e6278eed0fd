// Whose request it is: what fairness, quotas and metrics go by.
#ifndef SKIPSTREAM_SERVER_ENGINE_TENANT_H_
#define SKIPSTREAM_SERVER_ENGINE_TENANT_H_

#include <cstdint>
#include <limits>
#include <string>

namespace skipstream {

struct Tenant {
  // Unique; a label of metrics. Requests that name no tenant belong to "default".
  std::string name = "default";
  // Its share of the device, relative to the other tenants that have work. Above 0.
  double weight = 1.0;
  // Bounds on the requests it has accepted at a time, on top of the server's.
  int64_t max_requests = std::numeric_limits<int64_t>::max();
  int64_t max_evaluations = std::numeric_limits<int64_t>::max();
  int64_t max_bytes = std::numeric_limits<int64_t>::max();
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_TENANT_H_
