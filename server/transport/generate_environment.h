// What every Generate call needs.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_GENERATE_ENVIRONMENT_H_
#define SKIPSTREAM_SERVER_TRANSPORT_GENERATE_ENVIRONMENT_H_

#include <cstddef>
#include <string>

#include "absl/time/time.h"
#include "server/engine/admission.h"
#include "server/engine/clock.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/transport/call_counter.h"
#include "server/transport/generation_table.h"
#include "server/transport/request_limits.h"
#include "server/transport/request_resolver.h"
#include "server/transport/worker_pool.h"

namespace skipstream {

// Everything referred to outlives the RPCs; `clock` and `metrics` also the pool, where a picture
// may still be in the making when its RPC has ended.
struct GenerateEnvironment {
  const ModelRegistry& models;
  Admission& admission;
  EngineThread& engine;
  WorkerPool& encoders;
  const Clock& clock;
  TransportMetrics& metrics;
  CallCounter& calls;
  GenerationTable& generations;
  const EventLog& log;
  SeedSource draw_seed;
  RequestLimits limits;
  size_t max_outbox_bytes = 0;
  absl::Duration request_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::string version;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_GENERATE_ENVIRONMENT_H_
