// A Executor without networks, for tests of everything above it.
#ifndef SKIPSTREAM_TESTS_TESTING_PUPPET_EXECUTOR_H_
#define SKIPSTREAM_TESTS_TESTING_PUPPET_EXECUTOR_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/executor.h"
#include "model/network_info.h"

namespace skipstream {

// Thread-safe. A "network evaluation" stirs the row's step, term, class and rho into a 64-bit
// digest per slot, so that the pixels of a read-out depend on the sample's seed, class and plan,
// and on nothing else. Operations run in the order in which they were queued, like on a device
// stream:
//   manual     when the test calls CompleteNext(), on the test's thread
//   automatic  at once, on a separate thread
// Calls that break the contract of Executor are listed in violations().
class PuppetExecutor : public Executor {
 public:
  struct Options {
    int max_batch = 16;
    int num_slots = 64;
    int max_in_flight = 1;
    bool automatic = false;
    // Description of every "loaded" network; sha256 becomes a digest of the path.
    NetworkInfo info = DefaultInfo();
    // Reported as `busy` and by WarmUp.
    std::function<absl::Duration(int rows)> evaluation_time = [](int rows) {
      return absl::Milliseconds(4) + absl::Milliseconds(1) * rows;
    };
  };

  // 3 channels of 4x4 pixels, 10 unnamed classes, K = 4, no limits.
  static NetworkInfo DefaultInfo();

  struct Row {
    uint64_t seed = 0;  // of the sample in the slot
    SlotId slot = 0;
    int class_index = 0;
    int step = 0;
    int term = 0;
  };
  struct Call {
    enum Kind { kAllocate, kFree, kSubmit, kReadFinal, kReadPreview };
    Kind kind = kAllocate;
    NetworkId network = 0;  // kAllocate, kSubmit
    SlotId slot = 0;        // all but kSubmit
    uint64_t seed = 0;      // all but kSubmit
    std::vector<Row> rows;  // kSubmit
  };

  PuppetExecutor() : PuppetExecutor(Options()) {}
  explicit PuppetExecutor(Options options);
  // In automatic mode everything queued has been reported; in manual mode the rest is dropped.
  ~PuppetExecutor() override;

  // --- The test's side ---

  // Runs the queue up to and including the next operation that reports (batch or read-out), on this
  // thread. False if there is none. Manual mode only.
  bool CompleteNext();
  // Runs the queue up to and including the next batch. False if there is none; then read-outs that
  // were queued have run all the same. Manual mode only.
  bool CompleteBatch();
  // Runs everything that is queued. Manual mode only.
  void CompleteAll();
  // Switches to automatic mode. Called once.
  void SetAutomatic();
  // Blocks until `count` batches were submitted in total.
  void WaitForBatches(int count) const;

  std::vector<Call> calls() const;       // in order
  std::vector<Call> batches() const;     // the kSubmit ones
  int slots_in_use() const;              // allocated, not freed
  std::set<NetworkId> networks() const;  // loaded, not unloaded
  std::vector<std::string> violations() const;

  // --- Executor ---

  void SetListener(ExecutorListener* listener) override;
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) override;
  NetworkInfo GetNetworkInfo(NetworkId network) const override;
  void UnloadNetwork(NetworkId network) override;
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override;
  PrecisionChoice precision() const override { return {}; }
  int max_batch() const override { return options_.max_batch; }
  int num_slots() const override { return options_.num_slots; }
  int max_in_flight() const override { return options_.max_in_flight; }
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override;
  void FreeSlot(SlotId slot) override;
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

 protected:
  // Return the faults; OK here, BrokenExecutor overrides them. Called with the lock held.
  virtual absl::Status LoadFault(const std::string& /*path*/) { return absl::OkStatus(); }
  virtual absl::Status AllocateFault(uint64_t /*seed*/) { return absl::OkStatus(); }
  virtual absl::Status BatchFault() { return absl::OkStatus(); }
  virtual absl::Status RowFault(const Row& /*row*/) { return absl::OkStatus(); }
  virtual absl::Status ReadOutFault(uint64_t /*seed*/, ReadOutKind /*kind*/) {
    return absl::OkStatus();
  }
  // For the destructor of a subclass: its faults must not be asked for after it is gone.
  void StopThread();

 private:
  struct SlotState {
    uint64_t seed = 0;
    uint64_t digest = 0;
    NetworkId network = 0;
    int next_step = 0;
    int next_term = 0;
  };
  // One entry of the stream; exactly one of the optionals is set.
  struct Operation {
    std::optional<std::pair<SlotId, SlotInit>> initialize;
    std::optional<StepBatch> batch;
    struct Read {
      uint64_t id = 0;
      SlotId slot = 0;
      ReadOutKind kind = ReadOutKind::kFinal;
    };
    std::optional<Read> read;
  };
  struct Report {
    std::optional<BatchResult> batch;
    std::optional<ReadOutResult> read;
  };

  // The first report of the stream, if there is one; runs the operations up to it.
  std::optional<Report> RunToNextReport();  // needs mutex_
  BatchResult RunBatch(const StepBatch& batch);
  ReadOutResult RunReadOut(const Operation::Read& read);
  void Deliver(Report report);  // without mutex_
  void RunThread();
  void Violation(std::string what) { violations_.push_back(std::move(what)); }

  const Options options_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  ExecutorListener* listener_ = nullptr;
  NetworkId next_network_ = 1;
  std::map<NetworkId, std::string> networks_;  // path
  std::map<SlotId, uint64_t> allocated_;       // as the caller sees it: seed by slot
  std::set<SlotId> free_slots_;
  std::map<SlotId, SlotState> slots_;  // as the device sees it
  std::deque<Operation> stream_;
  int batches_submitted_ = 0;
  int batches_in_flight_ = 0;
  std::vector<Call> calls_;
  std::vector<std::string> violations_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_PUPPET_EXECUTOR_H_
