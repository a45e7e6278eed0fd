// A child process whose output a test can read.
#ifndef SKIPSTREAM_TESTS_CLIENT_CLI_SUBPROCESS_H_
#define SKIPSTREAM_TESTS_CLIENT_CLI_SUBPROCESS_H_

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace skipstream::testing {

class Subprocess {
 public:
  enum class Stderr { kPipe, kTerminal };

  struct Result {
    int exit_code = -1;  // -1: killed by a signal
    std::string out;
    std::string err;
  };

  // Starts at once; args[0] is the program.
  explicit Subprocess(const std::vector<std::string>& args, Stderr kind = Stderr::kPipe);

  void Signal(int signal);
  // Blocks until the child has written `text` to its output or error (or closed the latter).
  void WaitForOutput(const std::string& text);
  // Until it ends and closes its output. Once.
  Result Wait();

 private:
  void ReadAll(int fd, std::string& text);

  pid_t pid_ = -1;
  Result result_;
  std::mutex mutex_;
  std::condition_variable read_;
  bool err_closed_ = false;  // guarded by mutex_, as are the strings of result_ while it runs
  std::thread out_reader_;
  std::thread err_reader_;
};

}  // namespace skipstream::testing

#endif  // SKIPSTREAM_TESTS_CLIENT_CLI_SUBPROCESS_H_
