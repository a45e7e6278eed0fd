#include "server/log/line_writer.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace skipstream {
namespace {

constexpr auto kGraceAtTheEnd = std::chrono::seconds(1);

// False if not all of it could be written. A pipe that says it has room takes PIPE_BUF bytes at
// once.
bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    pollfd ready = {.fd = fd, .events = POLLOUT, .revents = 0};
    if (poll(&ready, 1, -1) < 0 && errno != EINTR) return false;
    const ssize_t written =
        write(fd, text.data(), std::min(text.size(), static_cast<size_t>(PIPE_BUF)));
    if (written < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

struct LineWriter::State {
  // A line, or the number of lines that were dropped in its place.
  struct Entry {
    std::string line;
    int64_t dropped = 0;
  };

  void Push(std::string line) {
    std::lock_guard lock(mutex);
    if (stopping || entries.size() >= kMaxWaiting || bytes + line.size() > kMaxWaitingBytes) {
      if (entries.empty() || entries.back().dropped == 0) entries.emplace_back();
      ++entries.back().dropped;
      Drop();
      return;
    }
    bytes += line.size();
    entries.push_back({std::move(line)});
    wake.notify_all();
  }

  // Needs mutex.
  void Drop() const {
    if (on_drop) on_drop();
  }

  const int fd;
  const DescribeGap describe_gap;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Entry> entries;
  size_t bytes = 0;  // of the lines that wait
  bool stopping = false;
  bool done = false;
  std::function<void()> on_drop;
};

LineWriter::LineWriter(int fd, DescribeGap describe_gap)
    : state_(new State{.fd = fd,
                       .describe_gap = std::move(describe_gap),
                       .mutex = {},
                       .wake = {},
                       .entries = {},
                       .on_drop = {}}) {
  // Signals are for other threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([state = state_] { Run(*state); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LineWriter::~LineWriter() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->on_drop = nullptr;
  state_->wake.notify_all();
  state_->wake.wait_for(lock, kGraceAtTheEnd, [this] { return state_->done; });
}

void LineWriter::Write(std::string line) { state_->Push(std::move(line)); }

void LineWriter::SetOnDrop(std::function<void()> on_drop) {
  std::lock_guard lock(state_->mutex);
  state_->on_drop = std::move(on_drop);
}

std::function<void(std::string)> LineWriter::Writing() const {
  return [state = state_](std::string line) { state->Push(std::move(line)); };
}

void LineWriter::Run(State& state) {
  using Entry = State::Entry;
  std::unique_lock lock(state.mutex);
  while (true) {
    state.wake.wait(lock, [&] { return !state.entries.empty() || state.stopping; });
    if (state.entries.empty()) break;
    Entry entry = std::move(state.entries.front());
    state.entries.pop_front();
    state.bytes -= entry.line.size();
    // At the end of the program describe_gap may use objects that are gone already.
    if (entry.dropped > 0 && state.describe_gap && !state.stopping) {
      entry.line = state.describe_gap(entry.dropped);
    }
    lock.unlock();
    const bool written = WriteAll(state.fd, entry.line);
    lock.lock();
    if (!written) state.Drop();
  }
  state.done = true;
  state.wake.notify_all();
}

}  // namespace skipstream
