#include "base/file_watcher.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

absl::StatusOr<std::string> ReadWatchedFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(absl::StrCat("there is no file ", path));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", strerror(errno)));
  std::string data(kMaxWatchedFileBytes + 1, '\0');
  in.read(data.data(), static_cast<std::streamsize>(data.size()));
  data.resize(static_cast<size_t>(in.gcount()));
  if (in.bad()) return absl::InternalError(absl::StrCat("cannot read ", path));
  if (data.size() > kMaxWatchedFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is larger than ", kMaxWatchedFileBytes, " bytes"));
  }
  return data;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadWatchedFiles(const std::vector<std::string>& paths) {
  std::vector<std::string> contents;
  for (const std::string& path : paths) {
    absl::StatusOr<std::string> data = ReadWatchedFile(path);
    if (!data.ok()) return data.status();
    contents.push_back(*std::move(data));
  }
  return contents;
}

FileWatcher::FileWatcher(std::vector<Watch> watches, absl::Duration interval, Report report)
    : interval_(interval), report_(std::move(report)), watches_(std::move(watches)) {
  if (!watches_.empty()) thread_ = std::thread([this] { Run(); });
}

FileWatcher::~FileWatcher() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void FileWatcher::CheckSoon() {
  {
    std::lock_guard lock(mutex_);
    check_soon_ = true;
  }
  wake_.notify_one();
}

void FileWatcher::Run() {
  std::vector<std::string> last_errors(watches_.size());
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait_for(lock, absl::ToChronoNanoseconds(interval_),
                   [this] { return stopping_ || check_soon_; });
    if (stopping_) return;
    check_soon_ = false;
    lock.unlock();  // reading may take for ever, and nobody waits for it
    for (size_t i = 0; i < watches_.size(); ++i) Check(watches_[i], last_errors[i]);
    lock.lock();
  }
}

void FileWatcher::Check(Watch& watch, std::string& last_error) {
  absl::StatusOr<std::vector<std::string>> contents = ReadWatchedFiles(watch.paths);
  absl::Status status = contents.status();
  if (contents.ok()) {
    if (*contents == watch.contents) {
      last_error.clear();
      return;
    }
    watch.contents = *std::move(contents);
    status = watch.apply(watch.contents);
    last_error.clear();
  }
  if (status.ok()) return report_(watch.what, status);
  const std::string message(status.message());
  // A file that cannot be read is tried again every time.
  if (message == std::exchange(last_error, message)) return;
  report_(watch.what, status);
}

}  // namespace skipstream
