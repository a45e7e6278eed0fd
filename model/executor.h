// Separates the batching engine from the code that evaluates networks: std and absl types only.
//
// An executor owns networks and slots on one device. A slot holds the registers of one sample
// (model/diffusion/solver_step.h) and belongs to the device, not to a network. All operations on
// slots take effect in the order in which they were called (one stream). So a slot may be freed
// while a batch that uses it is in flight, and handed out again at once.
//
// Calls come from one thread at a time (the engine's), except LoadNetwork and UnloadNetwork, which
// any thread may call. None of them blocks on the device except LoadNetwork and WarmUp.
#ifndef SKIPSTREAM_MODEL_EXECUTOR_H_
#define SKIPSTREAM_MODEL_EXECUTOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/image/image.h"
#include "model/diffusion/solver_step.h"
#include "model/network_info.h"

namespace skipstream {

using NetworkId = int;
using SlotId = int;

// Describes the start of a fresh slot: the plan's InitialUpdate with the latents of `seed`.
struct SlotInit {
  NetworkId network = 0;  // gives the shape [C, H, W]
  // Latents are torch.randn([C, H, W]) of a CPU generator seeded with this; later noise continues
  // the same generator.
  uint64_t seed = 0;
  std::shared_ptr<const SamplingPlan> plan;
  // Needed if the plan's initial update reads an init image. With a mask, every D is masked.
  std::shared_ptr<const InitImage> image = nullptr;
};

// Names one denoiser term of one step of one sample. Rows of a batch share nothing but the network.
// The terms of a step are submitted in order, in one batch or in several; the last one applies the
// step's update.
struct EvalRow {
  SlotId slot = 0;
  int class_index = -1;  // -1: none
  std::shared_ptr<const SamplingPlan> plan;
  int step = 0;
  int term = 0;
};

struct StepBatch {
  uint64_t id = 0;
  NetworkId network = 0;
  // 1 to max_batch() rows. A slot may come several times, with consecutive terms of one step.
  std::vector<EvalRow> rows;
};

struct BatchResult {
  uint64_t id = 0;
  // Not OK: the whole batch failed and its slots hold nothing useful.
  absl::Status status;
  // One per row when `status` is OK: a row that is not OK (e.g. a NaN) failed alone.
  std::vector<absl::Status> row_status;
  // Time of the device on the batch; zero if it did not evaluate every row.
  absl::Duration busy;
};

enum class ReadOutKind {
  kFinal,    // `base`
  kPreview,  // the last D
};

struct ReadOutResult {
  uint64_t id = 0;
  absl::Status status;
  Image image;
};

// Receives reports of finished work, on a thread of the executor; must not block or call the
// executor.
class ExecutorListener {
 public:
  virtual ~ExecutorListener() = default;
  virtual void OnBatchDone(BatchResult result) = 0;
  virtual void OnReadOut(ReadOutResult result) = 0;
};

// Holds the measured time of one evaluation of `rows` rows.
struct BucketTiming {
  int rows = 0;
  absl::Duration duration;
};

class Executor {
 public:
  // Joins the executor's threads; every operation submitted before has been reported by then.
  virtual ~Executor() = default;

  // Must be called once, before any slot operation. The listener outlives the executor.
  virtual void SetListener(ExecutorListener* listener) = 0;

  // Loads a .safetensors model file. Strict: a missing, unused or misshapen tensor, or a value out
  // of range, is an error that names it. Blocks while reading. A path may be /proc/self/fd/N, a
  // descriptor that stays open meanwhile.
  virtual absl::StatusOr<NetworkId> LoadNetwork(const std::string& path) = 0;
  virtual NetworkInfo GetNetworkInfo(NetworkId network) const = 0;
  // Releases the weights once everything submitted before has run.
  virtual void UnloadNetwork(NetworkId network) = 0;

  // Measures one evaluation of 1, 2, 4, ... max_batch() rows, within about `budget` (every bucket
  // is run at least once). Blocks; call it before traffic.
  virtual absl::StatusOr<std::vector<BucketTiming>> WarmUp(NetworkId network,
                                                           absl::Duration budget) = 0;

  virtual PrecisionChoice precision() const = 0;

  virtual int max_batch() const = 0;      // rows a batch may hold
  virtual int num_slots() const = 0;      // samples that may be in flight
  virtual int max_in_flight() const = 0;  // batches worth queueing: 1 on a CPU, 2 on CUDA

  // Allocates a slot. ResourceExhausted when all num_slots() slots are taken. Never blocks: the
  // initial update is queued.
  virtual absl::StatusOr<SlotId> AllocateSlot(const SlotInit& init) = 0;
  virtual void FreeSlot(SlotId slot) = 0;

  // Queues a batch; OnBatchDone follows exactly once, in submission order.
  virtual void Submit(StepBatch batch) = 0;

  // Queues a read-out under an id of the caller's choice; OnReadOut follows exactly once.
  virtual void ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTOR_H_
