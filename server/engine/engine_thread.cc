#include "server/engine/engine_thread.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

namespace skipstream {
namespace {

// Keeps timed waits inside what std::chrono can add up.
constexpr absl::Duration kLongestWait = absl::Hours(1);

struct AddMessage {
  JobId id = 0;
  GenerationJob job;
};
struct CancelMessage {
  JobId id = 0;
};
struct DeadlineMessage {
  JobId id = 0;
  absl::Time deadline;
};
using Message =
    std::variant<AddMessage, CancelMessage, DeadlineMessage, BatchResult, ReadOutResult>;

}  // namespace

class EngineThread::Impl final : public ExecutorListener {
 public:
  Impl(const Engine::Options& options, Executor& executor, const Clock& clock,
       EngineMetrics* metrics)
      : clock_(clock), engine_(options, executor, clock, metrics) {
    executor.SetListener(this);
    engine_.SetHealthCallback([this](bool healthy) { OnHealthChange(healthy); });
    thread_ = std::thread([this] { Run(); });
  }

  ~Impl() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      work_.notify_one();
    }
    thread_.join();
  }

  JobId Submit(GenerationJob job) {
    std::lock_guard lock(mutex_);
    const JobId id = ++submitted_jobs_;
    inbox_.push_back(AddMessage{id, std::move(job)});
    work_.notify_one();
    return id;
  }

  void Cancel(JobId id) { Post(CancelMessage{id}); }
  void ExtendDeadline(JobId id, absl::Time deadline) { Post(DeadlineMessage{id, deadline}); }
  void OnBatchDone(BatchResult result) override { Post(std::move(result)); }
  void OnReadOut(ReadOutResult result) override { Post(std::move(result)); }

  bool WaitIdle(absl::Duration timeout) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, absl::ToChronoNanoseconds(std::min(timeout, kLongestWait)),
                          [this] { return finished_jobs_ == submitted_jobs_; });
  }

  bool healthy() const { return healthy_; }

  void SetHealthCallback(std::function<void(bool)> on_change) {
    std::lock_guard lock(mutex_);
    health_callback_ = std::move(on_change);
  }

 private:
  // Notifies under the lock: once the engine's thread has the message, the poster is done with this
  // object, which the engine's thread may then be the last to use.
  void Post(Message message) {
    std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(message));
    work_.notify_one();
  }

  void Run() {
    bool stopping = false;
    while (!stopping || !engine_.executor_idle()) {
      std::deque<Message> messages;
      {
        std::unique_lock lock(mutex_);
        WaitForWork(lock, /*stop_seen=*/stopping);
        messages.swap(inbox_);
        stopping = stopping_;
      }
      for (Message& message : messages) Handle(message);
      if (stopping) {
        engine_.CancelAll();
      } else {
        engine_.Step();
      }
      std::lock_guard lock(mutex_);
      finished_jobs_ = engine_.finished_jobs();
      if (finished_jobs_ == submitted_jobs_) idle_.notify_all();
    }
  }

  void WaitForWork(std::unique_lock<std::mutex>& lock, bool stop_seen) {
    const auto has_work = [&] { return !inbox_.empty() || stopping_ != stop_seen; };
    const absl::Time wakeup = engine_.NextWakeup();
    if (stop_seen || wakeup == absl::InfiniteFuture()) {
      work_.wait(lock, has_work);
    } else {
      const absl::Duration wait = std::min(wakeup - clock_.Now(), kLongestWait);
      work_.wait_for(lock, absl::ToChronoNanoseconds(wait), has_work);
    }
  }

  void Handle(Message& message) {
    if (auto* add = std::get_if<AddMessage>(&message)) {
      engine_.AddJob(add->id, std::move(add->job));
    } else if (const auto* cancel = std::get_if<CancelMessage>(&message)) {
      engine_.CancelJob(cancel->id);
    } else if (const auto* extend = std::get_if<DeadlineMessage>(&message)) {
      engine_.ExtendDeadline(extend->id, extend->deadline);
    } else if (const auto* batch = std::get_if<BatchResult>(&message)) {
      engine_.OnBatchDone(*batch);
    } else {
      engine_.OnReadOut(std::get<ReadOutResult>(std::move(message)));
    }
  }

  void OnHealthChange(bool healthy) {
    healthy_ = healthy;
    std::function<void(bool)> callback;
    {
      std::lock_guard lock(mutex_);
      callback = health_callback_;
    }
    if (callback) callback(healthy);
  }

  const Clock& clock_;
  Engine engine_;  // the thread's
  std::atomic<bool> healthy_ = true;

  std::mutex mutex_;  // guards everything below but the thread
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<Message> inbox_;
  bool stopping_ = false;
  JobId submitted_jobs_ = 0;  // also the last id given out
  JobId finished_jobs_ = 0;
  std::function<void(bool)> health_callback_;

  std::thread thread_;
};

EngineThread::EngineThread(const Engine::Options& options, Executor& executor, const Clock& clock,
                           EngineMetrics* metrics)
    : impl_(std::make_unique<Impl>(options, executor, clock, metrics)) {}

EngineThread::~EngineThread() = default;

JobId EngineThread::Submit(GenerationJob job) { return impl_->Submit(std::move(job)); }

void EngineThread::Cancel(JobId id) { impl_->Cancel(id); }

void EngineThread::ExtendDeadline(JobId id, absl::Time deadline) {
  impl_->ExtendDeadline(id, deadline);
}

bool EngineThread::WaitIdle(absl::Duration timeout) { return impl_->WaitIdle(timeout); }

bool EngineThread::healthy() const { return impl_->healthy(); }

void EngineThread::SetHealthCallback(std::function<void(bool)> on_change) {
  impl_->SetHealthCallback(std::move(on_change));
}

}  // namespace skipstream
