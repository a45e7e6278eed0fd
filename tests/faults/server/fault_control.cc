#include "tests/faults/server/fault_control.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <thread>

#include "tests/faults/server/faulty_allocator.h"

namespace skipstream {

FaultControl::FaultControl(const std::string& path, FaultyExecutor& executor)
    : executor_(executor), listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = std::min(path.size(), sizeof(address.sun_path) - 1);
  std::copy_n(path.begin(), length, address.sun_path);
  if (listener_ < 0 || length != path.size() ||
      bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener_, 1) != 0) {
    std::perror(path.c_str());
    std::abort();
  }
  std::thread([this] { Serve(); }).detach();
}

void FaultControl::Serve() {
  while (true) {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    ServeOne(connection);
    close(connection);
  }
}

// One command a connection.
void FaultControl::ServeOne(int connection) {
  std::string command;
  std::array<char, 256> buffer;
  while (command.find('\n') == std::string::npos) {
    const ssize_t received = read(connection, buffer.data(), buffer.size());
    if (received <= 0) return;
    command.append(buffer.data(), static_cast<size_t>(received));
  }
  const std::string answer = Execute(command) + "\n";
  (void)send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
}

std::string FaultControl::Execute(const std::string& command) {
  static const auto* const kinds =
      new std::map<std::string, AllocationFault>{{"bad_alloc", AllocationFault::kBadAlloc},
                                                 {"oom", AllocationFault::kTorchOom},
                                                 {"other", AllocationFault::kOther}};
  std::istringstream in(command);
  std::string verb;
  in >> verb;
  int count = 0;
  int milliseconds = 0;
  uint64_t seed = 0;
  std::string kind;
  if (verb == "fail_batches" && in >> count) {
    executor_.FailBatches(count);
  } else if (verb == "slow_batches" && in >> count >> milliseconds) {
    executor_.SlowBatches(count, absl::Milliseconds(milliseconds));
  } else if (verb == "refuse_slots" && in >> count) {
    executor_.RefuseSlots(count);
  } else if (verb == "poison" && in >> seed >> count) {
    executor_.PoisonStep(seed, count);
  } else if (verb == "throw" && in >> kind >> count && kinds->contains(kind)) {
    FailAllocations(count, kinds->at(kind));
  } else if (verb == "clear") {
    executor_.Clear();
    FailAllocations(0, AllocationFault::kOther);
  } else {
    return "not a command: " + command.substr(0, command.find('\n'));
  }
  return "ok";
}

}  // namespace skipstream
