#include "base/worker_pool.h"

#include <utility>

namespace skipstream {

WorkerPool::WorkerPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Submit(const TaskOwner& owner, std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.Push(owner, std::move(task));
  }
  changed_.notify_one();
}

void WorkerPool::Discard(const TaskOwner& owner) {
  std::deque<TaskQueue::Task> tasks;  // gone after the lock: they may hold anything
  std::lock_guard lock(mutex_);
  tasks = tasks_.Remove(owner);
}

void WorkerPool::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = tasks_.Pop();
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes before the lock comes back
    lock.lock();
  }
}

}  // namespace skipstream
