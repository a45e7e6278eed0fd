#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() { metrics_.SetBuildInfo("1.2.3", "bfloat16"); }

  // Returns the text of a scrape.
  std::string Exposition() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, registry_.Collect());
    return out.str();
  }

  prometheus::Registry registry_;
  ServerMetrics metrics_{registry_};
};

TEST_F(MetricsTest, EveryFamilyOfTheDesignIsExposedWithHelpAndType) {
  // Families appear once they have a child.
  metrics_.transport.requests.With({"m", "heun", "OK"});
  metrics_.transport.request_duration_seconds.With({"m"});
  metrics_.transport.encode_seconds.With({"png"});
  metrics_.engine.images.With({"m"});
  metrics_.engine.evaluations.With({"m"});
  metrics_.engine.evaluation_seconds.With({"16"});
  metrics_.models.model_loaded.With({"m"});
  const std::string text = Exposition();
  const std::vector<std::pair<std::string, std::vector<std::string>>> families = {
      {"counter",
       {"requests_total", "images_total", "evaluations_total", "rejected_total", "cancelled_total",
        "retries_joined_total", "previews_dropped_total", "executor_failures_total",
        "log_lines_dropped_total"}},
      {"histogram",
       {"request_duration_seconds", "queue_seconds", "time_to_first_image_seconds",
        "evaluation_seconds", "batch_rows", "encode_seconds", "nfe"}},
      {"gauge",
       {"waiting_requests", "waiting_evaluations", "running_samples", "slots", "slots_in_use",
        "model_loaded", "result_cache_bytes", "build_info", "ready"}}};
  for (const auto& [type, names] : families) {
    for (const std::string& name : names) {
      EXPECT_THAT(text, HasSubstr("# HELP skipstream_" + name + " "));
      EXPECT_THAT(text, HasSubstr("# TYPE skipstream_" + name + " " + type + "\n"));
    }
  }
}

TEST_F(MetricsTest, CountersCarryTheirLabels) {
  metrics_.transport.requests.With({"nouns32", "heun", "OK"}).Increment();
  metrics_.transport.requests.With({"nouns32", "heun", "OK"}).Increment();
  metrics_.transport.requests.With({"", "", "INVALID_ARGUMENT"}).Increment();
  metrics_.transport.rejected.With({"QUEUE_FULL"}).Increment();
  metrics_.engine.cancelled.With({"running"}).Increment();
  const std::string text = Exposition();
  EXPECT_THAT(
      text,
      HasSubstr("skipstream_requests_total{code=\"OK\",model=\"nouns32\",solver=\"heun\"} 2\n"));
  EXPECT_THAT(
      text,
      HasSubstr("skipstream_requests_total{code=\"INVALID_ARGUMENT\",model=\"\",solver=\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_rejected_total{reason=\"QUEUE_FULL\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_cancelled_total{stage=\"running\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("skipstream_build_info{precision=\"bfloat16\",version=\"1.2.3\"} 1\n"));
}

TEST_F(MetricsTest, KnownLabelValuesStartAtZero) {
  const std::string text = Exposition();
  for (const char* reason :
       {"QUEUE_FULL", "TENANT_QUOTA", "REQUEST_TOO_LARGE", "DEADLINE_UNREACHABLE", "DRAINING"}) {
    EXPECT_THAT(text,
                HasSubstr("skipstream_rejected_total{reason=\"" + std::string(reason) + "\"} 0\n"));
  }
  EXPECT_THAT(text, HasSubstr("skipstream_cancelled_total{stage=\"waiting\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("skipstream_images_total{")));
}

TEST_F(MetricsTest, HistogramsTellMillisecondsFromMinutes) {
  metrics_.engine.queue_seconds.Observe(0.004);
  metrics_.engine.queue_seconds.Observe(90);
  metrics_.engine.queue_seconds.Observe(3600);
  const std::string text = Exposition();
  EXPECT_THAT(text, HasSubstr("skipstream_queue_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_queue_seconds_bucket{le=\"60\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_queue_seconds_bucket{le=\"120\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_queue_seconds_bucket{le=\"+Inf\"} 3\n"));
}

TEST_F(MetricsTest, UsualNfeAndBatchSizesHaveTheirOwnBucket) {
  for (const double nfe : {9, 19, 35, 79}) metrics_.transport.nfe.Observe(nfe);
  for (const double rows : {8, 16}) metrics_.engine.batch_rows.Observe(rows);
  const std::string text = Exposition();
  EXPECT_THAT(text, HasSubstr("skipstream_nfe_bucket{le=\"8\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_nfe_bucket{le=\"9\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_nfe_bucket{le=\"19\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_nfe_bucket{le=\"32\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_nfe_bucket{le=\"35\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_batch_rows_bucket{le=\"8\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skipstream_batch_rows_bucket{le=\"16\"} 2\n"));
}

TEST_F(MetricsTest, ThreadsShareTheChildrenOfAFamily) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        metrics_.engine.images.With({i % 2 == 0 ? "a" : "b"}).Increment();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(metrics_.engine.images.With({"a"}).Value(), 2000);
  EXPECT_EQ(metrics_.engine.images.With({"b"}).Value(), 2000);
}

}  // namespace
}  // namespace skipstream
