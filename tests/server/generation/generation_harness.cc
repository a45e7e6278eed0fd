#include "tests/server/generation/generation_harness.h"

#include <gtest/gtest.h>

#include <future>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {

TestCall::TestCall(const std::shared_ptr<const GenerateEnvironment>& environment,
                   const v1::GenerateRequest& request, const std::string& tenant,
                   absl::Time deadline)
    : reader_(std::make_shared<Subscriber>(
          Subscriber::Options{.max_outbox_bytes = environment->max_outbox_bytes,
                              .deadline = deadline},
          *this, environment->clock, environment->metrics)),
      served_by_(ServeRequest(environment, std::make_shared<const Tenant>(Tenant{.name = tenant}),
                              request.request_id(), request, reader_)) {}

TestCall::~TestCall() {
  Disconnect();
  ReadAll();
}

std::optional<v1::GenerateEvent> TestCall::Read() {
  std::optional<v1::GenerateEvent> event;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return writing_ != nullptr || status_; });
    if (writing_ == nullptr) return std::nullopt;
    event = *writing_;
    writing_ = nullptr;
  }
  reader_->OnWritten();
  return event;
}

v1::GenerateEvent TestCall::ReadUntil(v1::GenerateEvent::EventCase kind) {
  while (std::optional<v1::GenerateEvent> event = Read()) {
    if (event->event_case() == kind) return *std::move(event);
  }
  ADD_FAILURE() << "the call ended before event " << kind << ": " << status();
  return {};
}

std::vector<v1::GenerateEvent> TestCall::ReadAll() {
  std::vector<v1::GenerateEvent> events;
  while (std::optional<v1::GenerateEvent> event = Read()) events.push_back(*std::move(event));
  return events;
}

std::vector<std::string> TestCall::ReadKinds() {
  std::vector<std::string> kinds;
  for (const v1::GenerateEvent& event : ReadAll()) {
    if (event.has_accepted()) kinds.push_back("accepted");
    if (event.has_image()) kinds.push_back(absl::StrCat("image ", event.image().image_index()));
    if (event.has_image_failure()) {
      kinds.push_back(absl::StrCat("failure ", event.image_failure().image_index()));
    }
    if (event.has_completed()) kinds.push_back("completed");
  }
  return kinds;
}

absl::Status TestCall::status() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return status_.has_value(); });
  return *status_;
}

void TestCall::Disconnect() {
  if (served_by_.generation) served_by_.generation->Leave(*reader_);
  reader_->OnGone();
}

void TestCall::Write(const v1::GenerateEvent& event) {
  std::lock_guard lock(mutex_);
  EXPECT_EQ(writing_, nullptr) << "one write at a time";
  EXPECT_FALSE(status_) << "nothing follows the end";
  writing_ = &event;
  changed_.notify_all();
}

void TestCall::Finish(const absl::Status& status, const CallSummary& /*summary*/) {
  std::lock_guard lock(mutex_);
  EXPECT_EQ(writing_, nullptr) << "the end waits for the last write";
  EXPECT_FALSE(status_) << "calls end once";
  status_ = status;
  changed_.notify_all();
}

GenerationHarness::GenerationHarness(const Options& options)
    : automatic(options.executor.automatic),
      executor(options.executor),
      admission(options.admission),
      engine({}, executor, clock, &metrics.engine),
      generations(options.results, clock, metrics.transport.result_cache_bytes) {
  models.Add(LoadedModel::Load(executor, "fruit", "fruit.safetensors").value()).IgnoreError();
  environment = std::make_shared<const GenerateEnvironment>(
      GenerateEnvironment{.models = models,
                          .admission = admission,
                          .engine = engine,
                          .encoders = *encoders,
                          .clock = clock,
                          .metrics = metrics.transport,
                          .calls = calls,
                          .generations = generations,
                          .log = log.log(),
                          .draw_seed = [this] { return next_seed++; },
                          .limits = {},
                          .max_outbox_bytes = options.max_outbox_bytes,
                          .version = "1.2.3"});
}

void GenerationHarness::WaitForEncoders() {
  // One encoder takes its tasks in order.
  std::promise<void> done;
  encoders->Submit([&done] { done.set_value(); });
  done.get_future().wait();
}

}  // namespace skipstream
