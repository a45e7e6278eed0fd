#include "server/metrics/metrics.h"

namespace skipstream {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;

// All in seconds.
const std::vector<double> kRequestBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                            2.5,   5,    10,    30,   60,  120,  300, 600};
const std::vector<double> kEvaluationBounds = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                               0.1,    0.2,   0.5,   1,     2,    5,    10};
const std::vector<double> kEncodeBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                           0.01,   0.025,   0.05,   0.1,   0.25,   1};
// Powers of two with the half-way points, to tell a full batch from a nearly full one.
const std::vector<double> kRowBounds = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
// Powers of two and the numbers people ask for.
const std::vector<double> kNfeBounds = {1,  2,  4,  5,  8,  9,   13,  16,  19,
                                        32, 35, 49, 64, 79, 128, 256, 512, 1024};

Family<Counter>& CounterFamily(Registry& registry, const std::string& name,
                               const std::string& help) {
  return BuildCounter().Name("skipstream_" + name).Help(help).Register(registry);
}

Family<Gauge>& GaugeFamily(Registry& registry, const std::string& name, const std::string& help) {
  return BuildGauge().Name("skipstream_" + name).Help(help).Register(registry);
}

Family<Histogram>& HistogramFamily(Registry& registry, const std::string& name,
                                   const std::string& help) {
  return BuildHistogram().Name("skipstream_" + name).Help(help).Register(registry);
}

}  // namespace

EngineMetrics::EngineMetrics(Registry& registry)
    : images(CounterFamily(registry, "images_total", "Images that were finished and handed over."),
             {"model"}),
      evaluations(
          CounterFamily(registry, "evaluations_total",
                        "Network evaluations that ran, counted in rows of batches, including "
                        "those whose result was discarded."),
          {"model"}),
      tenant_evaluations(
          CounterFamily(registry, "tenant_evaluations_total",
                        "Network evaluations that ran, counted in rows of batches, by tenant."),
          {"tenant"}),
      cancelled(
          CounterFamily(registry, "cancelled_total",
                        "Accepted requests stopped by their client or their deadline, by stage: "
                        "waiting (no image had started) or running."),
          {"stage"}),
      executor_failures(CounterFamily(registry, "executor_failures_total",
                                      "Batches and read-outs that failed as a whole.")
                            .Add({})),
      queue_seconds(
          HistogramFamily(registry, "queue_seconds",
                          "Per image: from acceptance of its request until it got a slot.")
              .Add({}, kRequestBounds)),
      evaluation_seconds(
          HistogramFamily(registry, "evaluation_seconds",
                          "Time the device spent on one batch, by bucket: the number of rows the "
                          "batch was rounded up to."),
          {"bucket"}, kEvaluationBounds),
      batch_rows(
          HistogramFamily(registry, "batch_rows", "Rows per submitted batch.").Add({}, kRowBounds)),
      waiting_requests(GaugeFamily(registry, "waiting_requests",
                                   "Accepted requests none of whose images has started.")
                           .Add({})),
      waiting_evaluations(
          GaugeFamily(registry, "waiting_evaluations",
                      "Network evaluations, in rows, that accepted requests still need.")
              .Add({})),
      running_samples(
          GaugeFamily(registry, "running_samples", "Images that have started and are not finished.")
              .Add({})),
      slots(GaugeFamily(registry, "slots", "Images the executor can hold at once.").Add({})),
      slots_in_use(GaugeFamily(registry, "slots_in_use", "Slots that hold an image.").Add({})) {
  cancelled.With({"waiting"});
  cancelled.With({"running"});
}

ModelMetrics::ModelMetrics(Registry& registry)
    : model_loaded(GaugeFamily(registry, "model_loaded",
                               "1 while the model is offered, 0 after it was unloaded."),
                   {"model"}) {}

TransportMetrics::TransportMetrics(Registry& registry)
    : requests(CounterFamily(
                   registry, "requests_total",
                   "Generate calls that have ended, by gRPC status code. model is empty if "
                   "the call named no known model, solver if it failed before that was known."),
               {"model", "solver", "code"}),
      rejected(CounterFamily(registry, "rejected_total",
                             "Requests that were refused, by reason: QUEUE_FULL, TENANT_QUOTA, "
                             "REQUEST_TOO_LARGE, DEADLINE_UNREACHABLE or DRAINING (valid ones), "
                             "NO_TOKEN, BAD_TOKEN or NO_RIGHT (of any method)."),
               {"reason"}),
      retries_joined(CounterFamily(registry, "retries_joined_total",
                                   "Calls answered by what an earlier call with their request id "
                                   "started: running or finished."),
                     {"how"}),
      result_cache_bytes(
          GaugeFamily(registry, "result_cache_bytes",
                      "Bytes of finished results that are kept for retries or still being read.")
              .Add({})),
      previews_dropped(CounterFamily(registry, "previews_dropped_total",
                                     "Previews dropped because the reader was too slow.")
                           .Add({})),
      request_duration_seconds(HistogramFamily(registry, "request_duration_seconds",
                                               "Admitted Generate calls, from arrival to end."),
                               {"model"}, kRequestBounds),
      time_to_first_image_seconds(
          HistogramFamily(registry, "time_to_first_image_seconds",
                          "From arrival of a Generate call until its first image was handed to the "
                          "stream.")
              .Add({}, kRequestBounds)),
      encode_seconds(HistogramFamily(registry, "encode_seconds",
                                     "Time to encode one image, previews included, by format."),
                     {"format"}, kEncodeBounds),
      nfe(HistogramFamily(registry, "nfe", "Network evaluations per image of accepted requests.")
              .Add({}, kNfeBounds)),
      ready(GaugeFamily(registry, "ready", "1 while the readiness check says SERVING.").Add({})) {
  // Known label values start at zero, so that rates and alerts see the first increment.
  for (const char* reason :
       {"QUEUE_FULL", "TENANT_QUOTA", "REQUEST_TOO_LARGE", "DEADLINE_UNREACHABLE", "DRAINING",
        "NO_TOKEN", "BAD_TOKEN", "NO_RIGHT"}) {
    rejected.With({reason});
  }
  for (const char* how : {"running", "finished"}) retries_joined.With({how});
}

ServerMetrics::ServerMetrics(Registry& registry)
    : engine(registry),
      models(registry),
      transport(registry),
      log_lines_dropped(CounterFamily(registry, "log_lines_dropped_total",
                                      "Lines of the log that nobody took in time.")
                            .Add({})),
      build_info_(GaugeFamily(registry, "build_info",
                              "Always 1; labels: the version of the server, and the precision in "
                              "which networks are computed that have a form in it.")) {}

void ServerMetrics::SetBuildInfo(const std::string& version, const std::string& precision) {
  build_info_.Add({{"version", version}, {"precision", precision}}).Set(1);
}

}  // namespace skipstream
