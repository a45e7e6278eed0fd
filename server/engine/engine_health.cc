#include "server/engine/engine_health.h"

namespace skipstream {

void EngineHealth::Record(bool batch_ok, absl::Time now) {
  if (batch_ok) {
    failures_in_a_row_ = 0;
    Set(true);
    return;
  }
  if (++failures_in_a_row_ < failures_until_unhealthy_) return;
  healthy_again_at_ = now + retry_;
  Set(false);
}

void EngineHealth::Update(absl::Time now) {
  if (!healthy_ && healthy_again_at_ <= now) Set(true);
}

void EngineHealth::Set(bool healthy) {
  if (healthy == healthy_) return;
  healthy_ = healthy;
  if (on_change_) on_change_(healthy);
}

}  // namespace skipstream
