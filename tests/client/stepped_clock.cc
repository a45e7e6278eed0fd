// Preloaded into a program: its wall clock is off by the seconds in the file STEPPED_CLOCK, read at
// every look at the clock. The kernel knows nothing of it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

const volatile int64_t* MapOffset() {
  const char* name = getenv("STEPPED_CLOCK");
  const int fd = name == nullptr ? -1 : open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* offset = mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return offset == MAP_FAILED ? nullptr : static_cast<const volatile int64_t*>(offset);
}

}  // namespace

extern "C" {

// The C library names its parameters in a way that is reserved for it.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

int clock_gettime(clockid_t clock, struct timespec* now) noexcept {
  static const volatile int64_t* const offset = MapOffset();
  const long result = syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME && offset != nullptr) now->tv_sec += *offset;
  return static_cast<int>(result);
}

int gettimeofday(struct timeval* now, void*) noexcept {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* now) noexcept {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  if (now != nullptr) *now = time.tv_sec;
  return time.tv_sec;
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)
}
