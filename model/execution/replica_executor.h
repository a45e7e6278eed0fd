// Several devices as one Executor: replicas behind one queue. No LibTorch.
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

// Every network is loaded on every replica. A sample lives on the replica with the fewest samples
// when it starts, and stays there. A batch is split into parts by where its rows live; a replica
// gets several parts if there are more rows than it takes at once, so it may have more batches
// queued than its own max_in_flight(). Batches and read-outs are reported in the order they were
// called, one at a time, as by a single device.
class ReplicaExecutor final : public Executor, private ExecutorListener {
 public:
  // At least one; all alike, with the same max_batch(), num_slots() and form of networks.
  explicit ReplicaExecutor(std::vector<std::unique_ptr<Executor>> replicas);
  ~ReplicaExecutor() override = default;

  void SetListener(ExecutorListener* listener) override;
  // All or nothing: if one replica cannot load it, the others let it go again.
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) override;
  NetworkInfo GetNetworkInfo(NetworkId network) const override;
  void UnloadNetwork(NetworkId network) override;
  // The replicas measure at the same time, as they will work. A batch of r rows takes as long as
  // the slowest replica's bucket for its even share of them.
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                   absl::Duration budget) override;
  PrecisionChoice precision() const override { return replicas_.front().executor->precision(); }
  int max_batch() const override { return max_batch_; }          // of all replicas together
  int num_slots() const override { return num_slots_; }          // of all replicas together
  int max_in_flight() const override { return max_in_flight_; }  // the least of any replica
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) override;
  void FreeSlot(SlotId slot) override;
  // The batch failed if all its parts did; if only some did, their rows carry the part's status.
  // `busy` is that of the busiest replica.
  void Submit(StepBatch batch) override;
  void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) override;

 private:
  struct Replica {
    std::unique_ptr<Executor> executor;
    int slots_in_use = 0;
  };
  // Where a sample lives.
  struct Slot {
    bool live = false;  // between AllocateSlot and FreeSlot
    size_t replica = 0;
    SlotId local = 0;  // the replica's own id
  };
  // A batch or a read-out of the caller's, until it is reported.
  struct Operation {
    uint64_t id = 0;
    absl::Status refusal;  // not OK: what the caller hears, whatever the replicas say
    size_t open = 1;       // reports of replicas it waits for
    std::optional<ReadOutResult> read_out;  // once it is there; the rest is a batch's
    std::vector<absl::Status> part_status;
    std::vector<absl::Status> row_status;
    std::vector<absl::Duration> busy;  // by replica
  };
  // The rows of a batch that go to one replica at once.
  struct Part {
    size_t replica = 0;
    std::vector<size_t> rows;  // their places in the batch
    Operation* batch = nullptr;
    size_t index = 0;  // in Operation::part_status
  };

  // By replica; empty if `network` is not loaded.
  std::vector<NetworkId> FindNetwork(NetworkId network) const;
  const Slot* FindSlot(SlotId slot) const;  // null if not live
  absl::Status CheckBatch(const StepBatch& batch, bool network_loaded) const;
  // At least one part, in the order of their first rows. Rows without a slot are in none.
  std::vector<Part> Split(const StepBatch& batch) const;
  StepBatch MakePart(const StepBatch& batch, const Part& part, NetworkId network,
                     bool refused) const;
  static BatchResult Merge(Operation batch);

  // From the replicas, on their threads, under ids of next_report_.
  void OnBatchDone(BatchResult result) override;
  void OnReadOut(ReadOutResult result) override;
  void ReportFinished(std::unique_lock<std::mutex>& lock);  // `lock`: of reports_mutex_

  int max_batch_ = 0;
  int num_slots_ = 0;
  int max_in_flight_ = 0;
  ExecutorListener* listener_ = nullptr;

  mutable std::mutex networks_mutex_;
  std::map<NetworkId, std::vector<NetworkId>> networks_;  // guarded by networks_mutex_
  NetworkId next_network_ = 1;                            // guarded by networks_mutex_

  std::vector<Slot> slots_;         // of the calling thread
  std::vector<SlotId> free_slots_;  // of the calling thread

  std::mutex reports_mutex_;  // guards everything up to replicas_
  // In call order. The maps point into it: a deque's elements stay where they are.
  std::deque<Operation> operations_;
  std::map<uint64_t, Part> parts_;            // in flight, by the id the replica knows
  std::map<uint64_t, Operation*> read_outs_;  // in flight, by the id the replica knows
  uint64_t next_report_ = 0;
  bool reporting_ = false;  // a thread is in ReportFinished

  std::vector<Replica> replicas_;  // last: their threads are joined before anything above goes
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_REPLICA_EXECUTOR_H_
