// Arms faults by commands on a Unix socket: one command a line, one answer each.
#ifndef SKIPSTREAM_TESTS_FAULTS_SERVER_FAULT_CONTROL_H_
#define SKIPSTREAM_TESTS_FAULTS_SERVER_FAULT_CONTROL_H_

#include <string>

#include "tests/testing/faulty_executor.h"

namespace skipstream {

//   fail_batches COUNT             slow_batches COUNT MILLISECONDS
//   refuse_slots COUNT             poison SEED STEP
//   throw bad_alloc|oom|other COUNT
//   clear
// The answer is "ok" once the fault is armed, or what is wrong with the command.
class FaultControl {
 public:
  // Listens at `path` for the rest of the process, which ends if it cannot. Nobody may connect once
  // `executor` is gone.
  FaultControl(const std::string& path, FaultyExecutor& executor);

 private:
  [[noreturn]] void Serve();
  void ServeOne(int connection);
  std::string Execute(const std::string& command);

  FaultyExecutor& executor_;
  const int listener_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_FAULTS_SERVER_FAULT_CONTROL_H_
