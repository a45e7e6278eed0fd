// Implements what executors that run LibTorch have in common: options, networks, the assignment of
// slots, and one stream of operations.
#ifndef SKIPSTREAM_MODEL_EXECUTION_TORCH_EXECUTOR_BASE_H_
#define SKIPSTREAM_MODEL_EXECUTION_TORCH_EXECUTOR_BASE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "model/execution/executor_options.h"
#include "model/execution/network.h"
#include "model/execution/noise_source.h"
#include "model/execution/operation_stream.h"
#include "model/execution/row_checks.h"
#include "model/execution/slots.h"

namespace skipstream {

class TorchExecutorBase : public Executor {
 public:
  void SetListener(ExecutorListener* listener) final { listener_ = listener; }
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) final;
  NetworkInfo GetNetworkInfo(NetworkId network) const final;
  void UnloadNetwork(NetworkId network) final;
  absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network, absl::Duration budget) final;
  int max_batch() const final { return options_.max_batch; }
  int num_slots() const final { return options_.num_slots; }
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) final;
  void FreeSlot(SlotId slot) final;

  // --- Methods beyond the Executor interface, for parity checks ---

  // Loads a network whose parameter names begin with `prefix`.
  absl::StatusOr<NetworkId> LoadNetwork(const std::string& path, const std::string& prefix);
  // Allocates a slot that starts from these latents [C, H, W] instead of its seed's.
  absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init, std::vector<double> latents);
  // Returns a register once everything submitted before has run; empty if it was never written.
  virtual std::vector<double> ReadRegister(SlotId slot, Register reg) = 0;

 protected:
  // Returns InvalidArgument, naming the option, if one is out of range.
  static absl::Status CheckOptions(const ExecutorOptions& options);

  // Requires that CheckOptions() is OK. Destructors of derived classes call stream_.Stop().
  explicit TorchExecutorBase(const ExecutorOptions& options);

  // Loads a network in the form that the options ask for. May throw what LibTorch throws.
  virtual absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path,
                                                        const std::string& prefix) = 0;

  // --- Operations: on the stream's thread ---

  // Returns null if `slot` is out of range.
  virtual SlotState* FindSlot(SlotId slot) = 0;
  // Sets slot->status if it fails. The rest of SlotState is already set.
  virtual void InitializeSlot(SlotId slot, const NetworkInfo& info, const SlotInit& init,
                              std::vector<double> latents) = 0;
  virtual void ReleaseSlot(SlotId slot) = 0;
  // Returns the time of one evaluation of `rows` arbitrary rows. Throws.
  virtual absl::Duration TimeEvaluation(Network& network, int rows) = 0;
  // Called when nothing will be submitted for this network any more.
  virtual void ForgetNetwork(const std::shared_ptr<Network>& network) = 0;

  std::shared_ptr<Network> FindNetwork(NetworkId network) const;
  // Posts an operation on a network, null if it is not loaded. ForgetNetwork() comes after every
  // operation on a network that was posted.
  void PostWith(NetworkId network, std::function<void(Network*)> operation);
  // Fails every row's sample with `status`. Rows of these samples may already be queued behind this
  // batch, and must not fail the batches they are in.
  void FailSamples(const StepBatch& batch, const absl::Status& status);
  // Runs CheckBatch() with the options and slots of this executor.
  absl::Status Check(const StepBatch& batch, const Network* network);

  const ExecutorOptions options_;
  ExecutorListener* listener_ = nullptr;
  OperationStream stream_;

 private:
  absl::StatusOr<std::vector<BucketTiming>> MeasureBuckets(Network& network, absl::Duration budget);

  mutable std::mutex networks_mutex_;
  std::map<NetworkId, std::shared_ptr<Network>> networks_;  // guarded by networks_mutex_
  NetworkId next_network_ = 1;                              // guarded by networks_mutex_

  std::vector<SlotId> free_slots_;  // used by the calling thread, ahead of the stream's view
};

// Initializes the registers of a fresh sample: draws its latents, unless they are given, and the
// noise that its plan starts with.
void InitializeRegisters(const SlotInit& init, const NetworkInfo& info, std::vector<double> latents,
                         NoiseSource& noise, SlotRegisters& registers);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_TORCH_EXECUTOR_BASE_H_
