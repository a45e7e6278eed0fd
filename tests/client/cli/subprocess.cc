#include "tests/client/cli/subprocess.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

extern char** environ;

namespace skipstream::testing {

void Subprocess::ReadAll(int fd, std::string& text) {
  char buffer[4096];
  for (;;) {
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;  // a terminal ends with EIO
    std::lock_guard lock(mutex_);
    text.append(buffer, static_cast<size_t>(size));
    read_.notify_all();
  }
  close(fd);
}

void Subprocess::WaitForOutput(const std::string& text) {
  std::unique_lock lock(mutex_);
  read_.wait(lock, [&] {
    return err_closed_ || result_.out.find(text) != std::string::npos ||
           result_.err.find(text) != std::string::npos;
  });
}

Subprocess::Subprocess(const std::vector<std::string>& args, Stderr kind) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0) return;
  if (kind == Stderr::kTerminal) {
    winsize size{24, 80, 0, 0};
    if (openpty(&err[0], &err[1], nullptr, nullptr, &size) != 0) return;
    fcntl(err[0], F_SETFD, FD_CLOEXEC);
    fcntl(err[1], F_SETFD, FD_CLOEXEC);
  } else if (pipe2(err, O_CLOEXEC) != 0) {
    return;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  out_reader_ = std::thread([this, fd = out[0]] { ReadAll(fd, result_.out); });
  err_reader_ = std::thread([this, fd = err[0]] {
    ReadAll(fd, result_.err);
    std::lock_guard lock(mutex_);
    err_closed_ = true;
    read_.notify_all();
  });
}

void Subprocess::Signal(int signal) { kill(pid_, signal); }

Subprocess::Result Subprocess::Wait() {
  out_reader_.join();
  err_reader_.join();
  int status = 0;
  waitpid(pid_, &status, 0);
  if (WIFEXITED(status)) result_.exit_code = WEXITSTATUS(status);
  return result_;
}

}  // namespace skipstream::testing
