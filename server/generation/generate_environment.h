// Bundles the objects that every Generate call uses.
#ifndef SKIPSTREAM_SERVER_GENERATION_GENERATE_ENVIRONMENT_H_
#define SKIPSTREAM_SERVER_GENERATION_GENERATE_ENVIRONMENT_H_

#include <cstddef>
#include <string>

#include "absl/time/time.h"
#include "base/call_counter.h"
#include "base/clock.h"
#include "base/worker_pool.h"
#include "server/engine/admission.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/generation/idempotency_cache.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/request/request_limits.h"
#include "server/request/request_resolver.h"

namespace skipstream {

// Holds references that outlive the RPCs. `clock` and `metrics` also outlive the pool, which may
// still be making an image when its RPC has ended.
struct GenerateEnvironment {
  const ModelRegistry& models;
  Admission& admission;
  EngineThread& engine;
  WorkerPool& encoders;
  const Clock& clock;
  TransportMetrics& metrics;
  CallCounter& calls;
  IdempotencyCache& generations;
  const EventLog& log;
  SeedSource draw_seed;
  RequestLimits limits;
  size_t max_outbox_bytes = 0;
  absl::Duration request_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::string version;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_GENERATE_ENVIRONMENT_H_
