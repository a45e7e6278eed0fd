// A few threads that run what they are given, in order.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_WORKER_POOL_H_
#define SKIPSTREAM_SERVER_TRANSPORT_WORKER_POOL_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace skipstream {

// Thread-safe. First in, first out; idle threads sleep. Used for encoding, and for loading models.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);  // at least 1
  // Runs what is queued, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Tasks must not throw. Not to be called from the destructor on.
  void Submit(std::function<void()> task);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_WORKER_POOL_H_
