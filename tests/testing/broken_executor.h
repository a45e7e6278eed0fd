// A PuppetExecutor that fails on command.
#ifndef SKIPSTREAM_TESTS_TESTING_BROKEN_EXECUTOR_H_
#define SKIPSTREAM_TESTS_TESTING_BROKEN_EXECUTOR_H_

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "tests/testing/puppet_executor.h"

namespace skipstream {

// Thread-safe. Each command holds until another one of its kind replaces it.
class BrokenExecutor final : public PuppetExecutor {
 public:
  explicit BrokenExecutor(Options options = {}) : PuppetExecutor(std::move(options)) {}
  ~BrokenExecutor() override { StopThread(); }

  // The next `count` batches that run fail as a whole.
  void FailNextBatches(int count, absl::Status status) {
    std::lock_guard lock(fault_mutex_);
    failing_batches_ = count;
    batch_fault_ = std::move(status);
  }
  // The row of this step of the sample fails alone.
  void FailRow(uint64_t seed, int step, absl::Status status) {
    std::lock_guard lock(fault_mutex_);
    row_faults_[{seed, step}] = std::move(status);
  }
  // Read-outs of this kind of the sample fail.
  void FailReadOut(uint64_t seed, ReadOutKind kind, absl::Status status) {
    std::lock_guard lock(fault_mutex_);
    read_out_faults_[{seed, kind}] = std::move(status);
  }
  // The sample gets no slot; OK lifts it.
  void FailAllocation(uint64_t seed, absl::Status status) {
    std::lock_guard lock(fault_mutex_);
    allocation_faults_[seed] = std::move(status);
  }
  // The model file cannot be loaded.
  void FailLoad(const std::string& path, absl::Status status) {
    std::lock_guard lock(fault_mutex_);
    load_faults_[path] = std::move(status);
  }

 private:
  template <typename Key>
  absl::Status Lookup(const std::map<Key, absl::Status>& faults, const Key& key) {
    std::lock_guard lock(fault_mutex_);
    const auto it = faults.find(key);
    return it == faults.end() ? absl::OkStatus() : it->second;
  }

  absl::Status LoadFault(const std::string& path) override { return Lookup(load_faults_, path); }
  absl::Status AllocateFault(uint64_t seed) override { return Lookup(allocation_faults_, seed); }
  absl::Status BatchFault() override {
    std::lock_guard lock(fault_mutex_);
    if (failing_batches_ == 0) return absl::OkStatus();
    --failing_batches_;
    return batch_fault_;
  }
  absl::Status RowFault(const Row& row) override {
    return Lookup(row_faults_, std::pair(row.seed, row.step));
  }
  absl::Status ReadOutFault(uint64_t seed, ReadOutKind kind) override {
    return Lookup(read_out_faults_, std::pair(seed, kind));
  }

  std::mutex fault_mutex_;
  int failing_batches_ = 0;
  absl::Status batch_fault_;
  std::map<std::pair<uint64_t, int>, absl::Status> row_faults_;
  std::map<std::pair<uint64_t, ReadOutKind>, absl::Status> read_out_faults_;
  std::map<uint64_t, absl::Status> allocation_faults_;
  std::map<std::string, absl::Status> load_faults_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_BROKEN_EXECUTOR_H_
