// Joins several devices into one Executor: replicas behind one queue. No LibTorch.
#ifndef SKIPSTREAM_MODEL_EXECUTION_REPLICA_EXECUTOR_H_
#define SKIPSTREAM_MODEL_EXECUTION_REPLICA_EXECUTOR_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/executor.h"
#include "model/network_info.h"

namespace skipstream {

// Distributes samples over replicas, on each of which every network is loaded. A sample lives on
// the replica with the fewest samples when it starts, and stays there. A batch is split into parts
// by the replicas of its rows. A replica gets several parts if there are more rows than it takes at
// once, so it may have more batches queued than its own max_in_flight(). Batches and read-outs are
// reported in the order they were called, one at a time, as by a single device.
class ReplicaExecutor final : public Executor, private ExecutorListener {
 public:
  // Takes at least one replica. All have the same max_batch(), num_slots() and form of networks.
  explicit ReplicaExecutor(std::vector<std::unique_ptr<Executor>> replicas);
  ~ReplicaExecutor() override = default;

  void SetListener(ExecutorListener* listener) override;
  // Loads on all replicas or on none: if one cannot load it, the others unload it again.
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) override;
  NetworkInfo GetNetworkInfo(NetworkId network) const override;
  void UnloadNetwork(NetworkId network) override;
  // Measures on all replicas at the same time, as they will work. A batch of r rows takes as long
  // as the slowest replica's bucket for its even share of them.
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override;
  PrecisionChoice precision() const override { return replicas_.front().executor->precision(); }
  int max_batch() const override { return max_batch_; }          // of all replicas together
  int num_slots() const override { return num_slots_; }          // of all replicas together
  int max_in_flight() const override { return max_in_flight_; }  // the smallest of any replica
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override;
  void FreeSlot(SlotId slot) override;
  // Queues a batch. It fails if all its parts do; if only some do, their rows carry the part's
  // status. `busy` is that of the busiest replica.
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

 private:
  struct Replica {
    std::unique_ptr<Executor> executor;
    int slots_in_use = 0;
  };
  // Names the replica on which a sample lives.
  struct Slot {
    bool live = false;  // between AllocateSlot and FreeSlot
    size_t replica = 0;
    SlotId local = 0;  // the replica's own id
  };
  // Holds a batch or a read-out of the caller's, until it is reported.
  struct Operation {
    uint64_t id = 0;
    absl::Status refusal;  // not OK: reported to the caller, whatever the replicas report
    size_t open = 1;       // reports of replicas that are still missing
    std::optional<ReadOutResult> read_out;  // set when it arrives; the members below are a batch's
    std::vector<absl::Status> part_status;
    std::vector<absl::Status> row_status;
    std::vector<absl::Duration> busy;  // by replica
  };
  // Holds the rows of a batch that go to one replica at once.
  struct Part {
    size_t replica = 0;
    std::vector<size_t> rows;  // their indices in the batch
    Operation* batch = nullptr;
    size_t index = 0;  // in Operation::part_status
  };

  // Returns the ids by replica; empty if `network` is not loaded.
  std::vector<NetworkId> FindNetwork(NetworkId network) const;
  const Slot* FindSlot(SlotId slot) const;  // null if not live
  absl::Status CheckBatch(const StepBatch& batch, bool network_loaded) const;
  // Returns at least one part, in the order of their first rows. Rows without a slot are in none.
  std::vector<Part> Split(const StepBatch& batch) const;
  StepBatch MakePart(const StepBatch& batch, const Part& part, NetworkId network,
                     bool refused) const;
  static BatchResult Merge(Operation batch);

  // Called by the replicas, on their threads, with ids from next_report_.
  void OnBatchDone(BatchResult result) override;
  void OnReadOut(ReadOutResult result) override;
  void ReportFinished(std::unique_lock<std::mutex>& lock);  // `lock` holds reports_mutex_

  int max_batch_ = 0;
  int num_slots_ = 0;
  int max_in_flight_ = 0;
  ExecutorListener* listener_ = nullptr;

  mutable std::mutex networks_mutex_;
  std::map<NetworkId, std::vector<NetworkId>> networks_;  // guarded by networks_mutex_
  NetworkId next_network_ = 1;                            // guarded by networks_mutex_

  std::vector<Slot> slots_;         // used by the calling thread only
  std::vector<SlotId> free_slots_;  // used by the calling thread only

  std::mutex reports_mutex_;  // guards the members from here to replicas_
  // Holds operations in call order. The maps point into it: a deque's elements keep their
  // addresses.
  std::deque<Operation> operations_;
  std::map<uint64_t, Part> parts_;            // in flight, by the replica's report id
  std::map<uint64_t, Operation*> read_outs_;  // in flight, by the replica's report id
  uint64_t next_report_ = 0;
  bool reporting_ = false;  // a thread is in ReportFinished

  std::vector<Replica> replicas_;  // last: joins their threads before the rest goes
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_REPLICA_EXECUTOR_H_
