// Records every event that an OutputSink receives.
#ifndef SKIPSTREAM_TESTS_TESTING_RECORDING_SINK_H_
#define SKIPSTREAM_TESTS_TESTING_RECORDING_SINK_H_

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/engine/generation_job.h"

namespace skipstream {

// Thread-safe. Breaches of the OutputSink order are recorded in `violations`.
class RecordingSink final : public OutputSink {
 public:
  struct Preview {
    int sample = 0;
    int evaluations_done = 0;
    Image pixels;
  };
  struct State {
    // "accepted", "progress 0 1/9", "preview 0 3", "image 0", "failed 0", "finished OK"
    std::vector<std::string> events;
    std::optional<AcceptedInfo> accepted;
    std::vector<Preview> previews;
    std::map<int, Image> images;
    std::map<int, SampleTimings> timings;
    std::map<int, absl::Status> failures;
    std::optional<absl::Status> finished;
    std::vector<std::string> violations;
  };

  void OnAccepted(const AcceptedInfo& info) override {
    Record("accepted", [&](State& state) {
      if (state.events.size() != 1) state.violations.push_back("OnAccepted was not first");
      state.accepted = info;
    });
  }
  void OnProgress(int sample, int evaluations_done, int evaluations_total) override {
    Record(absl::StrCat("progress ", sample, " ", evaluations_done, "/", evaluations_total),
           [](State&) {});
  }
  void OnPreview(int sample, int evaluations_done, Image pixels) override {
    Record(absl::StrCat("preview ", sample, " ", evaluations_done), [&](State& state) {
      state.previews.push_back({sample, evaluations_done, std::move(pixels)});
    });
  }
  void OnImage(int sample, Image pixels, const SampleTimings& timings) override {
    Record(absl::StrCat("image ", sample), [&](State& state) {
      CheckSampleIsOpen(state, sample);
      state.images[sample] = std::move(pixels);
      state.timings[sample] = timings;
    });
  }
  void OnSampleFailed(int sample, const absl::Status& status) override {
    Record(absl::StrCat("failed ", sample), [&](State& state) {
      CheckSampleIsOpen(state, sample);
      state.failures[sample] = status;
    });
  }
  void OnFinished(const absl::Status& status) override {
    Record(absl::StrCat("finished ", absl::StatusCodeToString(status.code())),
           [&](State& state) { state.finished = status; });
  }

  State state() const {
    std::lock_guard lock(mutex_);
    return state_;
  }
  bool finished() const {
    std::lock_guard lock(mutex_);
    return state_.finished.has_value();
  }
  // Blocks until OnFinished and returns its status.
  absl::Status WaitFinished() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return state_.finished.has_value(); });
    return *state_.finished;
  }
  // Blocks until `event` has happened.
  void WaitFor(const std::string& event) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      for (const std::string& seen : state_.events) {
        if (seen == event) return true;
      }
      return false;
    });
  }

 private:
  template <typename Update>
  void Record(std::string event, Update update) {
    std::lock_guard lock(mutex_);
    if (state_.finished) state_.violations.push_back(absl::StrCat(event, " after OnFinished"));
    if (state_.events.empty() && event != "accepted") {
      state_.violations.push_back(absl::StrCat(event, " before OnAccepted"));
    }
    state_.events.push_back(std::move(event));
    update(state_);
    changed_.notify_all();
  }

  static void CheckSampleIsOpen(State& state, int sample) {
    if (state.images.count(sample) + state.failures.count(sample) > 0) {
      state.violations.push_back(absl::StrCat("sample ", sample, " ended twice"));
    }
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  State state_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_RECORDING_SINK_H_
