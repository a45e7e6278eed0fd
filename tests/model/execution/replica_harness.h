// Puppets as the replicas of a ReplicaExecutor.
#ifndef SKIPSTREAM_TESTS_MODEL_EXECUTION_REPLICA_HARNESS_H_
#define SKIPSTREAM_TESTS_MODEL_EXECUTION_REPLICA_HARNESS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/execution/replica_executor.h"
#include "tests/model/execution/recording_listener.h"
#include "tests/testing/broken_executor.h"
#include "tests/testing/puppet_executor.h"

namespace skipstream {

using PlanPtr = std::shared_ptr<const SamplingPlan>;

inline constexpr char kPath[] = "puppet.safetensors";

// `nfe` steps of `terms` rows each.
inline PlanPtr MakePlan(int nfe, int terms = 1) {
  auto plan = std::make_shared<SamplingPlan>();
  plan->initial.latent = 80.0;
  for (int i = 0; i < nfe; ++i) {
    SolverStep step;
    step.sigma = 80.0 / (i + 1);
    for (int t = 0; t < terms; ++t) step.terms.push_back({.weight = 1.0 / terms, .rho = {1.0f}});
    plan->steps.push_back(step);
  }
  return plan;
}

// As many batches at once as a test likes.
inline PuppetExecutor::Options Puppet(int max_batch = 8, int num_slots = 8) {
  return {.max_batch = max_batch, .num_slots = num_slots, .max_in_flight = 1000};
}

inline std::vector<uint64_t> Seeds(const PuppetExecutor::Call& batch) {
  std::vector<uint64_t> seeds;
  for (const PuppetExecutor::Row& row : batch.rows) seeds.push_back(row.seed);
  return seeds;
}

inline std::vector<std::string> Messages(const BatchResult& result) {
  std::vector<std::string> messages;
  for (const absl::Status& status : result.row_status) {
    messages.emplace_back(status.ok() ? "OK" : status.message());
  }
  return messages;
}

// Replicas of one kind of puppet, with a network loaded on all of them.
template <typename Replica>
class Replicas {
 public:
  explicit Replicas(const std::vector<PuppetExecutor::Options>& options) {
    std::vector<std::unique_ptr<Executor>> replicas;
    for (const PuppetExecutor::Options& one : options) {
      replicas.push_back(std::make_unique<Replica>(one));
      puppets_.push_back(static_cast<Replica*>(replicas.back().get()));
    }
    // Replica i already has i networks: the id of the next one differs everywhere.
    for (size_t i = 0; i < puppets_.size(); ++i) {
      for (size_t k = 0; k < i; ++k) EXPECT_TRUE(puppets_[i]->LoadNetwork("other").ok());
    }
    executor_ = std::make_unique<ReplicaExecutor>(std::move(replicas));
    executor_->SetListener(&listener_);
    network_ = *executor_->LoadNetwork(kPath);
  }

  ReplicaExecutor& executor() { return *executor_; }
  Replica& puppet(size_t i) { return *puppets_[i]; }
  NetworkId network() const { return network_; }
  RecordingListener& listener() { return listener_; }
  void Destroy() { executor_.reset(); }

  SlotId Allocate(uint64_t seed, const PlanPtr& plan = MakePlan(4)) {
    const auto slot = executor_->AllocateSlot({network_, seed, plan});
    EXPECT_TRUE(slot.ok()) << slot.status();
    plans_[slot.value_or(0)] = plan;
    return slot.value_or(0);
  }
  // Returns a row of a step of the slot's sample; class is irrelevant here.
  EvalRow Row(SlotId slot, int step = 0, int term = 0) {
    return {slot, -1, plans_.contains(slot) ? plans_[slot] : MakePlan(4), step, term};
  }
  void Submit(uint64_t id, std::vector<EvalRow> rows) {
    executor_->Submit({id, network_, std::move(rows)});
  }
  // The replicas one after the other, the last one first.
  void CompleteAll() {
    for (size_t i = puppets_.size(); i-- > 0;) puppets_[i]->CompleteAll();
  }
  std::vector<BatchResult> batches() { return listener_.WaitForBatches(0); }
  std::vector<ReadOutResult> read_outs() { return listener_.WaitForReadOuts(0); }
  std::vector<std::string> violations() const {
    std::vector<std::string> all;
    for (const Replica* puppet : puppets_) {
      for (const std::string& violation : puppet->violations()) all.push_back(violation);
    }
    return all;
  }
  // Samples that live on each replica.
  std::vector<int> slots_in_use() const {
    std::vector<int> counts;
    for (const Replica* puppet : puppets_) counts.push_back(puppet->slots_in_use());
    return counts;
  }

 private:
  RecordingListener listener_;
  std::vector<Replica*> puppets_;
  std::unique_ptr<ReplicaExecutor> executor_;
  NetworkId network_ = 0;
  std::map<SlotId, PlanPtr> plans_;
};

using BrokenReplicas = Replicas<BrokenExecutor>;

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_EXECUTION_REPLICA_HARNESS_H_
