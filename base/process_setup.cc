#include "base/process_setup.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

namespace skipstream {

void PrepareProcess() {
  std::signal(SIGXFSZ, SIG_IGN);
  // Each open() takes the lowest free number: the first one above standard error is not needed.
  int fd = open("/dev/null", O_RDONLY);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = open("/dev/null", O_RDONLY);
  if (fd > STDERR_FILENO) close(fd);
}

}  // namespace skipstream
