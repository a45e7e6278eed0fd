// Runs operations on one thread in the order they were posted, as a CUDA stream does on a GPU.
#ifndef SKIPSTREAM_MODEL_EXECUTION_OPERATION_STREAM_H_
#define SKIPSTREAM_MODEL_EXECUTION_OPERATION_STREAM_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace skipstream {

// Accepts operations from any thread; they must not throw.
class OperationStream {
 public:
  OperationStream();
  ~OperationStream() { Stop(); }

  OperationStream(const OperationStream&) = delete;
  OperationStream& operator=(const OperationStream&) = delete;

  // Runs everything posted before, then joins. Nothing may be posted afterwards.
  void Stop();

  void Post(std::function<void()> operation);
  // Posts an operation and waits until it has run.
  void Run(std::function<void()> operation);

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> operations_;  // guarded by mutex_
  bool stopping_ = false;                         // guarded by mutex_
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_OPERATION_STREAM_H_
