// A few threads that run what they are given.
#ifndef SKIPSTREAM_BASE_WORKER_POOL_H_
#define SKIPSTREAM_BASE_WORKER_POOL_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/task_queue.h"

namespace skipstream {

// Thread-safe. Owners of tasks take turns (task_queue.h); idle threads sleep. Used for encoding,
// and for loading models.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);  // at least 1
  // Runs what is queued, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Tasks must not throw. Not to be called from the destructor on.
  void Submit(const TaskOwner& owner, std::function<void()> task);
  // Drops what this owner has waiting; what runs goes on.
  void Discard(const TaskOwner& owner);
  // First in, first out among those without an owner.
  void Submit(std::function<void()> task) { Submit({}, std::move(task)); }

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  TaskQueue tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_WORKER_POOL_H_
