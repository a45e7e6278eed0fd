#include "client/cli/commands/request_runner.h"

#include <exception>
#include <utility>

namespace skipstream::cli {

RunOutcome RequestRunner::Run(const std::vector<v1::GenerateRequest>& requests) {
  // An interrupt may have come before anything was started: outcome_.status is kept.
  outcome_.completed.resize(requests.size());
  handles_.resize(requests.size());
  has_image_failures_.resize(requests.size());
  StartNext(requests);
  loop_.RunUntil(
      [&] {
        StartNext(requests);
        return running_ == 0;
      },
      options_.tick, [this] { listener_.OnTick(); });
  return std::move(outcome_);
}

void RequestRunner::StartNext(const std::vector<v1::GenerateRequest>& requests) {
  while (outcome_.status.ok() && running_ < options_.max_concurrent && next_ < requests.size()) {
    const size_t request = next_++;
    ++running_;
    handles_[request] = client_.GenerateAsync(
        requests[request], CallbacksFor(request),
        [this, request](absl::StatusOr<client::GenerateResult> result) {
          Post([this, request, result = std::move(result)] { OnDone(request, result); });
        },
        options_.deadline);
  }
}

client::GenerateCallbacks RequestRunner::CallbacksFor(size_t request) {
  client::GenerateCallbacks callbacks;
  callbacks.on_progress = [this, request](const v1::Progress& progress) {
    Post([this, request, progress] { listener_.OnProgress(request, progress); });
  };
  callbacks.on_preview = [this, request](const v1::Preview& preview) {
    Post([this, request, preview] {
      if (absl::Status status = listener_.OnPreview(request, preview); !status.ok()) Stop(status);
    });
  };
  callbacks.on_image = [this, request](const v1::Image& image) {
    Post([this, request, image] {
      if (absl::Status status = listener_.OnImage(request, image); !status.ok()) Stop(status);
    });
  };
  callbacks.on_image_failure = [this, request](const v1::ImageFailure& failure) {
    Post([this, request, failure] {
      has_image_failures_[request] = true;
      listener_.OnImageFailure(request, failure);
    });
  };
  callbacks.on_retry = [this](const absl::Status& why, absl::Duration wait) {
    Post([this, why, wait] { listener_.OnRetry(why, wait); });
  };
  return callbacks;
}

void RequestRunner::Post(std::function<void()> event) {
  loop_.Post([this, event = std::move(event)] {
    try {
      event();
    } catch (const std::exception& error) {
      Stop(absl::InternalError(error.what()));
    }
  });
}

void RequestRunner::OnDone(size_t request, const absl::StatusOr<client::GenerateResult>& result) {
  --running_;
  handles_[request].reset();
  if (result.ok()) {
    outcome_.completed[request] = result->completed;
  } else if (!has_image_failures_[request]) {
    Stop(result.status());
  }
}

void RequestRunner::Stop(const absl::Status& why) {
  if (!outcome_.status.ok()) return;
  outcome_.status = why;
  for (const auto& handle : handles_) {
    if (handle) handle->Cancel();
  }
}

}  // namespace skipstream::cli
