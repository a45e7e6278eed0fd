// Defines every metric family of the server (docs/operations.md lists them). Built once in main,
// injected into the objects that use them; no global registry.
//
// A family belongs to exactly one of the structs below, or to ServerMetrics, which main uses. Only
// the layer that is handed the struct touches it, so that nothing is counted twice.
//   EngineMetrics     the engine, on its own thread
//   ModelMetrics      the model registry
//   TransportMetrics  the transport
//
// Label values are bounded: they come from the models that were loaded, from enums, or from status
// codes, never from an unchecked request. A request that names no known model has model="", one
// that failed before its solver was known has solver="".
#ifndef SKIPSTREAM_SERVER_METRICS_METRICS_H_
#define SKIPSTREAM_SERVER_METRICS_METRICS_H_

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/labels.h"
#include "prometheus/registry.h"

namespace skipstream {

// Finds the children of one family by the values of its labels. A child is created at its first use
// and then found in a local cache. Thread-safe; children live as long as the registry.
template <typename Metric>
class LabelledMetric {
 public:
  // `bounds` are the bucket boundaries of a histogram family.
  LabelledMetric(prometheus::Family<Metric>& family, std::vector<std::string> names,
                 std::vector<double> bounds = {})
      : family_(family), names_(std::move(names)), bounds_(std::move(bounds)) {}

  // Returns the child. `values` has one value per label name, in the order in which the family
  // documents them.
  Metric& With(const std::vector<std::string>& values) {
    std::lock_guard lock(mutex_);
    Metric*& child = children_[values];
    if (child == nullptr) child = &Create(values);
    return *child;
  }

 private:
  Metric& Create(const std::vector<std::string>& values) {
    prometheus::Labels labels;
    for (size_t i = 0; i < names_.size(); ++i) labels[names_[i]] = values.at(i);
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>) {
      return family_.Add(labels, bounds_);
    } else {
      return family_.Add(labels);
    }
  }

  prometheus::Family<Metric>& family_;
  const std::vector<std::string> names_;
  const std::vector<double> bounds_;
  std::mutex mutex_;
  std::map<std::vector<std::string>, Metric*> children_;
};

using LabelledCounter = LabelledMetric<prometheus::Counter>;
using LabelledGauge = LabelledMetric<prometheus::Gauge>;
using LabelledHistogram = LabelledMetric<prometheus::Histogram>;

// Holds metrics of the engine. Evaluations are counted in rows, the unit of cost.
struct EngineMetrics {
  explicit EngineMetrics(prometheus::Registry& registry);

  LabelledCounter images;                  // {model}: delivered to the sink
  LabelledCounter evaluations;             // {model}: rows of batches that ran, discarded ones too
  LabelledCounter tenant_evaluations;      // {tenant}: the same rows by tenant
  LabelledCounter cancelled;               // {stage}: "waiting" or "running"; deadlines too
  prometheus::Counter& executor_failures;  // batches and read-outs
  prometheus::Histogram& queue_seconds;    // per image
  LabelledHistogram evaluation_seconds;    // {bucket}: rows of the cost model's bucket
  prometheus::Histogram& batch_rows;       // per submitted batch
  prometheus::Gauge& waiting_requests;     // none of their images has a slot yet
  prometheus::Gauge& waiting_evaluations;  // rows accepted requests still need
  prometheus::Gauge& running_samples;      // from slot to delivered image
  prometheus::Gauge& slots;                // number of the executor
  prometheus::Gauge& slots_in_use;
};

// Holds metrics of the model registry.
struct ModelMetrics {
  explicit ModelMetrics(prometheus::Registry& registry);

  LabelledGauge model_loaded;  // {model}: 1 while offered, 0 after it was unloaded
};

// Holds metrics of the transport.
struct TransportMetrics {
  explicit TransportMetrics(prometheus::Registry& registry);

  // {model, solver, code}: every Generate call once, when it ends; code is the name of the status
  // code ("OK", "INVALID_ARGUMENT"), solver a SolverName.
  LabelledCounter requests;
  // {reason}: refused by the admission or the engine; the reason of its status ("QUEUE_FULL",
  // "TENANT_QUOTA", "REQUEST_TOO_LARGE", "DEADLINE_UNREACHABLE", "DRAINING") or of the
  // authentication. Invalid requests are not counted here: requests has them by code.
  LabelledCounter rejected;
  // {how}: calls that were answered from the generation of an earlier call with their request id:
  // "running" or "finished".
  LabelledCounter retries_joined;
  prometheus::Gauge& result_cache_bytes;  // results kept for retries, or still being sent
  prometheus::Counter& previews_dropped;
  // {model}: calls that were admitted, from arrival until end; not those that joined later
  LabelledHistogram request_duration_seconds;
  prometheus::Histogram& time_to_first_image_seconds;  // arrival until handed to the stream
  LabelledHistogram encode_seconds;  // {format}: "png", "webp" or "raw"; per image
  prometheus::Histogram& nfe;        // per accepted request, as the user counts it
  prometheus::Gauge& ready;          // 1 while the readiness check says SERVING
};

// Owns nothing but the children's handles; everything lives in `registry`, which outlives this.
struct ServerMetrics {
  explicit ServerMetrics(prometheus::Registry& registry);

  // Sets the labels of build_info. Called once.
  void SetBuildInfo(const std::string& version, const std::string& precision);

  EngineMetrics engine;
  ModelMetrics models;
  TransportMetrics transport;
  prometheus::Counter& log_lines_dropped;

 private:
  prometheus::Family<prometheus::Gauge>& build_info_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_METRICS_METRICS_H_
