#include "base/process_setup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace skipstream {
namespace {

// Each test ends in a separate process, which exits with 0 if `good` holds.
#define EXPECT_IN_CHILD(good) EXPECT_EXIT(_Exit((good) ? 0 : 1), testing::ExitedWithCode(0), "")

bool WritingPastTheLimitOfFilesFails() {
  PrepareProcess(nullptr);
  const std::string path = std::filesystem::temp_directory_path() / "process_setup_test.XXXXXX";
  std::string name = path;
  const int fd = mkstemp(name.data());
  unlink(name.c_str());
  const rlimit limit = {.rlim_cur = 1, .rlim_max = 1};
  if (fd < 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
  return write(fd, "x", 1) == 1 && write(fd, "x", 1) == -1 && errno == EFBIG;
}

bool ClosedStandardDescriptorsAreNotGivenToOthers() {
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(fd);
  PrepareProcess(nullptr);
  char byte = 0;
  return open("/dev/null", O_RDWR) > STDERR_FILENO && read(STDIN_FILENO, &byte, 1) == 0 &&
         write(STDOUT_FILENO, "x", 1) == -1 && write(STDERR_FILENO, "x", 1) == -1;
}

bool OpenStandardDescriptorsStayAsTheyAre() {
  int ends[2];
  if (pipe(ends) != 0 || dup2(ends[1], STDOUT_FILENO) != STDOUT_FILENO) return false;
  PrepareProcess(nullptr);
  char byte = 0;
  return write(STDOUT_FILENO, "x", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 'x';
}

TEST(ProcessSetupDeathTest, AWritePastTheLimitOnFilesIsAnErrorAndNotTheEnd) {
  EXPECT_IN_CHILD(WritingPastTheLimitOfFilesFails());
}

TEST(ProcessSetupDeathTest, StandardDescriptorsAreOpenAndStayTheirOwn) {
  EXPECT_IN_CHILD(ClosedStandardDescriptorsAreNotGivenToOthers());
  EXPECT_IN_CHILD(OpenStandardDescriptorsStayAsTheyAre());
}

}  // namespace
}  // namespace skipstream
