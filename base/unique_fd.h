#ifndef SKIPSTREAM_BASE_UNIQUE_FD_H_
#define SKIPSTREAM_BASE_UNIQUE_FD_H_

#include <utility>

namespace skipstream {

// Owns a file descriptor, or none (-1).
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) : fd_(fd) {}
  ~UniqueFd();
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_UNIQUE_FD_H_
