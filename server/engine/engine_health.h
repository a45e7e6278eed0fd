#ifndef SKIPSTREAM_SERVER_ENGINE_ENGINE_HEALTH_H_
#define SKIPSTREAM_SERVER_ENGINE_ENGINE_HEALTH_H_

#include <functional>
#include <utility>

#include "absl/time/time.h"

namespace skipstream {

// Decides from the results of batches whether the engine is healthy. For one thread.
class EngineHealth {
 public:
  // Becomes unhealthy after `failures_until_unhealthy` failed batches in a row, at least 1. Counts
  // as healthy again `retry` after the last of them, so that traffic can try it; one more failure
  // makes it unhealthy again at once.
  EngineHealth(int failures_until_unhealthy, absl::Duration retry)
      : failures_until_unhealthy_(failures_until_unhealthy), retry_(retry) {}

  bool healthy() const { return healthy_; }
  // Called at each change, from inside Record() and Update().
  void SetCallback(std::function<void(bool healthy)> on_change) {
    on_change_ = std::move(on_change);
  }

  void Record(bool batch_ok, absl::Time now);
  // Becomes healthy again if it is time.
  void Update(absl::Time now);
  // Returns the time at which Update() has something to do; InfiniteFuture if there is none.
  absl::Time NextUpdate() const { return healthy_ ? absl::InfiniteFuture() : healthy_again_at_; }

 private:
  void Set(bool healthy);

  const int failures_until_unhealthy_;
  const absl::Duration retry_;
  bool healthy_ = true;
  int failures_in_a_row_ = 0;
  absl::Time healthy_again_at_;
  std::function<void(bool)> on_change_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_ENGINE_HEALTH_H_
