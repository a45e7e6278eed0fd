// An ExecutorListener that keeps everything and lets a test wait for it.
#ifndef SKIPSTREAM_TESTS_MODEL_EXECUTION_RECORDING_LISTENER_H_
#define SKIPSTREAM_TESTS_MODEL_EXECUTION_RECORDING_LISTENER_H_

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "model/executor.h"

namespace skipstream {

class RecordingListener : public ExecutorListener {
 public:
  void OnBatchDone(BatchResult result) override {
    const std::lock_guard lock(mutex_);
    order_.push_back(result.id);
    batches_.push_back(std::move(result));
    changed_.notify_all();
  }
  void OnReadOut(ReadOutResult result) override {
    const std::lock_guard lock(mutex_);
    order_.push_back(result.id);
    read_outs_.push_back(std::move(result));
    changed_.notify_all();
  }

  // Waits until there are `count` in all and returns them.
  std::vector<BatchResult> WaitForBatches(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= count; });
    return batches_;
  }
  std::vector<ReadOutResult> WaitForReadOuts(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return read_outs_.size() >= count; });
    return read_outs_;
  }
  // Ids of batches and read-outs as they came.
  std::vector<uint64_t> order() const {
    const std::lock_guard lock(mutex_);
    return order_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<BatchResult> batches_;
  std::vector<ReadOutResult> read_outs_;
  std::vector<uint64_t> order_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_EXECUTION_RECORDING_LISTENER_H_
