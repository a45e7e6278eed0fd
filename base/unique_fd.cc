#include "base/unique_fd.h"

#include <unistd.h>

namespace skipstream {

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace skipstream
