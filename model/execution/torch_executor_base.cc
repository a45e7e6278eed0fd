#include "model/execution/torch_executor_base.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "model/backends/exception_status.h"

namespace skipstream {
namespace {

using SteadyClock = std::chrono::steady_clock;

absl::Duration Since(SteadyClock::time_point start) {
  return absl::FromChrono(SteadyClock::now() - start);
}

[[noreturn]] void CallerBug(const char* what, int id) {
  std::fprintf(stderr, "Executor: %s %d\n", what, id);
  std::abort();
}

absl::Status NotLoaded(NetworkId network) {
  return absl::NotFoundError(absl::StrCat("network ", network, " is not loaded"));
}

}  // namespace

absl::Status TorchExecutorBase::CheckOptions(const ExecutorOptions& options) {
  const auto out_of_range = [](const char* option, int max) {
    return absl::InvalidArgumentError(absl::StrCat(option, " must be from 1 to ", max));
  };
  if (options.max_batch < 1 || options.max_batch > 4096) return out_of_range("max_batch", 4096);
  if (options.num_slots < 1 || options.num_slots > 65536) return out_of_range("num_slots", 65536);
  if (options.threads < 0 || options.threads > 4096) {
    return absl::InvalidArgumentError("threads must be from 0 (all cores) to 4096");
  }
  return absl::OkStatus();
}

TorchExecutorBase::TorchExecutorBase(const ExecutorOptions& options, PrecisionChoice precision)
    : options_(options), precision_(std::move(precision)) {
  for (SlotId slot = options.num_slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

absl::StatusOr<NetworkId> TorchExecutorBase::LoadNetwork(const std::string& path) {
  return LoadNetwork(path, "");
}

absl::StatusOr<NetworkId> TorchExecutorBase::LoadNetwork(const std::string& path,
                                                         const std::string& prefix) {
  try {
    absl::StatusOr<std::unique_ptr<Network>> network = Load(path, prefix);
    if (!network.ok()) return network.status();
    const std::lock_guard lock(networks_mutex_);
    networks_[next_network_] = *std::move(network);
    return next_network_++;
  } catch (...) {
    const absl::Status status = StatusOfCurrentException();
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
}

std::shared_ptr<Network> TorchExecutorBase::FindNetwork(NetworkId network) const {
  const std::lock_guard lock(networks_mutex_);
  const auto it = networks_.find(network);
  return it == networks_.end() ? nullptr : it->second;
}

NetworkInfo TorchExecutorBase::GetNetworkInfo(NetworkId network) const {
  const std::shared_ptr<const Network> found = FindNetwork(network);
  if (found == nullptr) CallerBug("no network", network);
  return found->info();
}

void TorchExecutorBase::PostWith(NetworkId network, std::function<void(Network*)> operation) {
  const std::lock_guard lock(networks_mutex_);
  const auto it = networks_.find(network);
  stream_.Post([operation = std::move(operation),
                found = it == networks_.end() ? nullptr : it->second] { operation(found.get()); });
}

void TorchExecutorBase::UnloadNetwork(NetworkId network) {
  const std::lock_guard lock(networks_mutex_);
  auto unloaded = networks_.extract(network);
  if (unloaded.empty()) return;
  stream_.Post([this, network = std::move(unloaded.mapped())] { ForgetNetwork(network); });
}

absl::StatusOr<SlotId> TorchExecutorBase::AllocateSlot(const SlotInit& init) {
  return AllocateSlot(init, {});
}

absl::StatusOr<SlotId> TorchExecutorBase::AllocateSlot(const SlotInit& init,
                                                       std::vector<double> latents) {
  const std::shared_ptr<const Network> network = FindNetwork(init.network);
  if (network == nullptr) return NotLoaded(init.network);
  if (init.plan == nullptr) return absl::InvalidArgumentError("a slot needs a plan");
  const NetworkInfo& info = network->info();
  if (absl::Status status = CheckInitImage(init, info); !status.ok()) return status;
  if (!latents.empty() &&
      latents.size() != static_cast<size_t>(info.channels) * info.height * info.width) {
    return absl::InvalidArgumentError("latents do not have the network's shape");
  }
  if (free_slots_.empty()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", options_.num_slots, " slots are taken"));
  }
  const SlotId id = free_slots_.back();
  free_slots_.pop_back();
  stream_.Post([this, id, network, init, latents = std::move(latents)]() mutable {
    const NetworkInfo& shape = network->info();
    SlotState& slot = *FindSlot(id);
    slot.live = true;
    slot.status = absl::OkStatus();
    slot.channels = shape.channels;
    slot.height = shape.height;
    slot.width = shape.width;
    slot.terms_done = 0;
    try {
      InitializeSlot(id, shape, init, std::move(latents));
    } catch (...) {
      slot.status = StatusOfCurrentException();
    }
  });
  return id;
}

void TorchExecutorBase::FreeSlot(SlotId slot) {
  if (slot < 0 || slot >= options_.num_slots ||
      std::find(free_slots_.begin(), free_slots_.end(), slot) != free_slots_.end()) {
    CallerBug("freed a slot that is not allocated:", slot);
  }
  free_slots_.push_back(slot);
  stream_.Post([this, slot] {
    FindSlot(slot)->live = false;
    ReleaseSlot(slot);
  });
}

absl::Status TorchExecutorBase::Check(const StepBatch& batch, const Network* network) {
  if (network == nullptr) return NotLoaded(batch.network);
  return CheckBatch(batch, options_.max_batch, network->info(),
                    [this](SlotId slot) { return FindSlot(slot); });
}

void TorchExecutorBase::FailSamples(const StepBatch& batch, const absl::Status& status) {
  for (const EvalRow& row : batch.rows) {
    if (SlotState* slot = FindSlot(row.slot); slot != nullptr) slot->status = status;
  }
}

absl::StatusOr<std::vector<BucketTiming>> TorchExecutorBase::WarmUp(NetworkId network,
                                                                    absl::Duration budget) {
  const std::shared_ptr<Network> found = FindNetwork(network);
  if (found == nullptr) return NotLoaded(network);
  absl::StatusOr<std::vector<BucketTiming>> timings = absl::InternalError("not measured");
  stream_.Run([&] {
    try {
      timings = MeasureBuckets(*found, budget);
    } catch (...) {
      timings = StatusOfCurrentException();
    }
  });
  return timings;
}

absl::StatusOr<std::vector<BucketTiming>> TorchExecutorBase::MeasureBuckets(Network& network,
                                                                            absl::Duration budget) {
  std::vector<int> buckets;
  for (int rows = 1; rows < options_.max_batch; rows *= 2) buckets.push_back(rows);
  buckets.push_back(options_.max_batch);

  // The first round also prepares LibTorch for every shape, so it counts only if it is the only
  // one.
  constexpr size_t kEnough = 8;
  const SteadyClock::time_point start = SteadyClock::now();
  std::vector<std::vector<absl::Duration>> measured(buckets.size());
  std::vector<absl::Duration> first(buckets.size());
  // The largest one first: the others find its memory.
  for (size_t i = buckets.size(); i-- > 0;) first[i] = TimeEvaluation(network, buckets[i]);
  for (size_t round = 0; round < kEnough && Since(start) < budget; ++round) {
    for (size_t i = 0; i < buckets.size() && Since(start) < budget; ++i) {
      measured[i].push_back(TimeEvaluation(network, buckets[i]));
    }
  }
  std::vector<BucketTiming> timings;
  for (size_t i = 0; i < buckets.size(); ++i) {
    std::vector<absl::Duration>& times = measured[i];
    const auto middle = times.begin() + times.size() / 2;
    if (!times.empty()) std::nth_element(times.begin(), middle, times.end());
    timings.push_back({buckets[i], times.empty() ? first[i] : *middle});
  }
  return timings;
}

void InitializeRegisters(const SlotInit& init, const NetworkInfo& info, std::vector<double> latents,
                         NoiseSource& noise, SlotRegisters& registers) {
  const auto draw = [&] { return noise.Draw(info.channels, info.height, info.width); };
  registers.Reset(static_cast<size_t>(info.channels) * info.height * info.width);
  // Drawn even if unused: the noise that follows must not depend on the plan.
  std::vector<double> drawn = draw();
  if (latents.empty()) latents = std::move(drawn);
  const InitialUpdate& initial = init.plan->initial;
  std::vector<double> fresh;
  if (initial.noise != 0.0) fresh = draw();
  const absl::Span<const float> image =
      init.image != nullptr ? init.image->pixels : absl::Span<const float>();
  registers.Initialize(initial, image, latents, fresh);
}

}  // namespace skipstream
