#include "server/rpc/readiness.h"

namespace skipstream {

void Readiness::Attach(grpc::HealthCheckServiceInterface* service, bool engine_healthy) {
  std::lock_guard lock(mutex_);
  service_ = service;
  engine_healthy_ = engine_healthy;
  service_->SetServingStatus("", true);
  service_->SetServingStatus("liveness", true);
  Publish();
}

void Readiness::Detach() {
  std::lock_guard lock(mutex_);
  service_ = nullptr;
}

void Readiness::SetEngineHealthy(bool healthy) {
  std::lock_guard lock(mutex_);
  engine_healthy_ = healthy;
  Publish();
}

void Readiness::StartDraining() {
  std::lock_guard lock(mutex_);
  draining_ = true;
  Publish();
}

void Readiness::Publish() {
  if (service_ == nullptr) return;
  const bool ready = engine_healthy_ && !draining_;
  service_->SetServingStatus("readiness", ready);
  service_->SetServingStatus("skipstream.v1.ImageGeneration", ready);
  gauge_.Set(ready ? 1 : 0);
}

}  // namespace skipstream
