// Runs many requests at once, a bounded number at a time, and reports on one thread.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_REQUEST_RUNNER_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_REQUEST_RUNNER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cc/skipstream_client.h"
#include "client/cli/commands/event_loop.h"

namespace skipstream::cli {

// Receives reports on the thread of RequestRunner::Run(). `request` is the index into its list. A
// status that is not OK stops the run.
class RunListener {
 public:
  virtual ~RunListener() = default;
  virtual void OnProgress(size_t request, const v1::Progress& progress) = 0;
  virtual absl::Status OnPreview(size_t request, const v1::Preview& preview) = 0;
  virtual absl::Status OnImage(size_t request, const v1::Image& image) = 0;
  virtual void OnImageFailure(size_t request, const v1::ImageFailure& failure) = 0;
  virtual void OnRetry(const absl::Status& why, absl::Duration wait) = 0;
  virtual void OnTick() = 0;
};

struct RunOutcome {
  // Reason why the run stopped: the first error, or CANCELLED after Cancel(). OK if every request
  // is done; single images may have failed even then.
  absl::Status status;
  // Results by request; nullopt for those that did not complete.
  std::vector<std::optional<v1::Completed>> completed;
};

class RequestRunner {
 public:
  struct Options {
    int max_concurrent = 32;
    client::Deadline deadline;
    absl::Duration tick = absl::InfiniteDuration();  // between calls of OnTick
  };

  // Everything passed in outlives this object.
  RequestRunner(client::Client& client, EventLoop& loop, RunListener& listener,
                const Options& options)
      : client_(client), loop_(loop), listener_(listener), options_(options) {}

  // Returns when every request that was started has ended, here and on the server. The first
  // failing request cancels the others, unless it failed because single images did.
  RunOutcome Run(const std::vector<v1::GenerateRequest>& requests);

  // Must be called on the loop's thread: post it.
  void Cancel() { Stop(absl::CancelledError("interrupted")); }

 private:
  void StartNext(const std::vector<v1::GenerateRequest>& requests);
  client::GenerateCallbacks CallbacksFor(size_t request);
  // Calls `event` on the loop's thread. An exception there stops the run as an error does: the
  // calls that are under way still end one by one.
  void Post(std::function<void()> event);
  void OnDone(size_t request, const absl::StatusOr<client::GenerateResult>& result);
  void Stop(const absl::Status& why);

  client::Client& client_;
  EventLoop& loop_;
  RunListener& listener_;
  const Options options_;

  RunOutcome outcome_;
  std::vector<std::shared_ptr<client::GenerateHandle>> handles_;  // by request; null once done
  std::vector<bool> has_image_failures_;                          // by request
  size_t next_ = 0;
  int running_ = 0;
};

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_REQUEST_RUNNER_H_
