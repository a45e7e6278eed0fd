// Runs tasks on a few threads.
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

// Runs tasks for encoding and for loading models. Owners of tasks take turns (task_queue.h); idle
// threads sleep. Thread-safe.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);  // at least 1
  // Runs all queued tasks, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Queues a task, which must not throw. Must not be called once the destructor has begun.
  void Submit(const TaskOwner& owner, std::function<void()> task);
  // Drops the waiting tasks of this owner; running ones go on.
  void Discard(const TaskOwner& owner);
  // Queues a task without an owner; such tasks run first in, first out.
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
