#include "model/execution/operation_stream.h"

#include <future>
#include <utility>

namespace skipstream {

OperationStream::OperationStream() : thread_([this] { Loop(); }) {}

void OperationStream::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void OperationStream::Post(std::function<void()> operation) {
  {
    const std::lock_guard lock(mutex_);
    operations_.push_back(std::move(operation));
  }
  wake_.notify_one();
}

void OperationStream::Run(std::function<void()> operation) {
  std::promise<void> done;
  Post([&] {
    operation();
    done.set_value();
  });
  done.get_future().wait();
}

void OperationStream::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !operations_.empty(); });
    if (operations_.empty()) return;
    std::function<void()> operation = std::move(operations_.front());
    operations_.pop_front();
    lock.unlock();
    operation();
    operation = nullptr;  // what it holds may take a while to go
    lock.lock();
  }
}

}  // namespace skipstream
