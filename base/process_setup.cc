#include "base/process_setup.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <initializer_list>

namespace skipstream {
namespace {

constexpr char kThisProgram[] = "/proc/self/exe";

// Descriptors that are passed on to a program do not close at an exec; those of libraries do.
bool IsTakenByALibrary(int fd) {
  const int flags = fcntl(fd, F_GETFD);
  return flags != -1 && (flags & FD_CLOEXEC) != 0;
}

}  // namespace

void PrepareProcess(char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);
  // Each open() takes the lowest free number: the first one above standard error is not needed.
  int null = open("/dev/null", O_RDONLY);
  while (null >= 0 && null <= STDERR_FILENO) null = open("/dev/null", O_RDONLY);
  if (null < 0) return;
  bool taken = false;
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (!IsTakenByALibrary(fd) || access(kThisProgram, X_OK) != 0) continue;
    dup2(null, fd);
    taken = true;
  }
  close(null);
  if (taken) execv(kThisProgram, argv);
}

}  // namespace skipstream
