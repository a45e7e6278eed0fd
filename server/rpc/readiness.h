// Sets the answers of the health service.
#ifndef SKIPSTREAM_SERVER_RPC_READINESS_H_
#define SKIPSTREAM_SERVER_RPC_READINESS_H_

#include <grpcpp/health_check_service_interface.h>

#include <mutex>

#include "prometheus/gauge.h"

namespace skipstream {

// Answers for the service names of grpc.health.v1. "" and "liveness" are SERVING while the process
// works; "readiness" and "skipstream.v1.ImageGeneration" only while the engine is healthy and the
// server does not drain. Thread-safe.
class Readiness {
 public:
  // `gauge` outlives this object; it is 1 while ready.
  explicit Readiness(prometheus::Gauge& gauge) : gauge_(gauge) {}

  // Publishes every change to `service` from now on, until Detach().
  void Attach(grpc::HealthCheckServiceInterface* service, bool engine_healthy);
  void Detach();

  void SetEngineHealthy(bool healthy);
  void StartDraining();

 private:
  void Publish();  // needs mutex_

  prometheus::Gauge& gauge_;
  std::mutex mutex_;
  grpc::HealthCheckServiceInterface* service_ = nullptr;
  bool engine_healthy_ = true;
  bool draining_ = false;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_READINESS_H_
