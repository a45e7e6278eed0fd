#include "model/torch/cpu_executor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "model/network/fused_unet.h"
#include "model/torch/exception_status.h"

namespace skipstream {
namespace {

using SteadyClock = std::chrono::steady_clock;

absl::Duration Since(SteadyClock::time_point start) {
  return absl::FromChrono(SteadyClock::now() - start);
}

[[noreturn]] void CallerBug(const char* what, int id) {
  std::fprintf(stderr, "CpuExecutor: %s %d\n", what, id);
  std::abort();
}

Precision ChoosePrecision(const TorchExecutorOptions& options) {
  if (options.precision) return *options.precision;
  if (options.deterministic || options.kernels == Kernels::kReference) return Precision::kFloat32;
  return FasterPrecision();
}

// Of one evaluation of any picture.
absl::Duration TimeEvaluation(const Network& network, int64_t rows) {
  const NetworkInfo& info = network.info();
  const std::vector<float> rho(info.num_skips, 1.0f);
  const std::vector<DenoiserRow> conditions(rows, DenoiserRow{1.0, 1.0, -1, rho});
  const at::Tensor x = at::zeros({rows, info.channels, info.height, info.width}, at::kFloat);
  const SteadyClock::time_point start = SteadyClock::now();
  network.Denoise(x, conditions);
  return Since(start);
}

uint8_t ToPixel(double v) {
  return static_cast<uint8_t>(std::lround(std::clamp(v * 127.5 + 127.5, 0.0, 255.0)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuExecutor>> CpuExecutor::Create(
    const TorchExecutorOptions& options) {
  const auto out_of_range = [](const char* option, int max) {
    return absl::InvalidArgumentError(absl::StrCat(option, " must be from 1 to ", max));
  };
  if (options.max_batch < 1 || options.max_batch > 4096) return out_of_range("max_batch", 4096);
  if (options.num_slots < 1 || options.num_slots > 65536) return out_of_range("num_slots", 65536);
  if (options.threads < 0 || options.threads > 4096) {
    return absl::InvalidArgumentError("threads must be from 0 (all cores) to 4096");
  }
  return std::unique_ptr<CpuExecutor>(new CpuExecutor(options));
}

CpuExecutor::CpuExecutor(const TorchExecutorOptions& options)
    : options_(options), precision_(ChoosePrecision(options)), slots_(options.num_slots) {
  for (SlotId slot = options.num_slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  const int threads = options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // LibTorch's number of threads belongs to the thread that asks for work.
  stream_.Post([threads] { at::set_num_threads(threads); });
}

void CpuExecutor::SetListener(ExecutorListener* listener) { listener_ = listener; }

absl::StatusOr<NetworkId> CpuExecutor::LoadNetwork(const std::string& path) {
  return LoadNetwork(path, "");
}

absl::StatusOr<NetworkId> CpuExecutor::LoadNetwork(const std::string& path,
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

absl::StatusOr<std::unique_ptr<Network>> CpuExecutor::Load(const std::string& path,
                                                           const std::string& prefix) {
  absl::StatusOr<std::unique_ptr<Network>> network =
      Network::Load(path, prefix, {options_.kernels, precision_});
  const bool settled = options_.precision || precision_ == Precision::kFloat32;
  if (settled || !absl::IsUnimplemented(network.status())) return network;
  // A network that has no such form.
  return Network::Load(path, prefix, {options_.kernels, Precision::kFloat32});
}

int64_t CpuExecutor::BatchSize(const Network& network, int64_t rows) const {
  const bool fills_up =
      options_.deterministic && network.info().form.kernels == Kernels::kReference;
  return fills_up ? options_.max_batch : rows;
}

std::shared_ptr<const Network> CpuExecutor::FindNetwork(NetworkId network) const {
  const std::lock_guard lock(networks_mutex_);
  const auto it = networks_.find(network);
  return it == networks_.end() ? nullptr : it->second;
}

NetworkInfo CpuExecutor::GetNetworkInfo(NetworkId network) const {
  const std::shared_ptr<const Network> found = FindNetwork(network);
  if (found == nullptr) CallerBug("no network", network);
  return found->info();
}

void CpuExecutor::UnloadNetwork(NetworkId network) {
  // Operations in the stream hold the network until they have run.
  const std::lock_guard lock(networks_mutex_);
  networks_.erase(network);
}

absl::StatusOr<SlotId> CpuExecutor::AllocateSlot(const SlotInit& init) {
  return AllocateSlot(init, {});
}

absl::StatusOr<SlotId> CpuExecutor::AllocateSlot(const SlotInit& init,
                                                 std::vector<double> latents) {
  const std::shared_ptr<const Network> network = FindNetwork(init.network);
  if (network == nullptr) {
    return absl::NotFoundError(absl::StrCat("network ", init.network, " is not loaded"));
  }
  if (init.plan == nullptr) return absl::InvalidArgumentError("a slot needs a plan");
  const NetworkInfo& info = network->info();
  if (absl::Status status = CheckGivenImage(init, info); !status.ok()) return status;
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
    InitializeSlot(slots_[id], network->info(), init, std::move(latents));
  });
  return id;
}

void CpuExecutor::FreeSlot(SlotId slot) {
  if (FindSlot(slot) == nullptr ||
      std::find(free_slots_.begin(), free_slots_.end(), slot) != free_slots_.end()) {
    CallerBug("freed a slot that is not allocated:", slot);
  }
  free_slots_.push_back(slot);
  stream_.Post([this, slot] {
    slots_[slot].live = false;
    slots_[slot].image = nullptr;
  });
}

void CpuExecutor::Submit(StepBatch batch) {
  std::shared_ptr<const Network> network = FindNetwork(batch.network);
  stream_.Post([this, batch = std::move(batch), network = std::move(network)] {
    listener_->OnBatchDone(RunBatch(batch, network.get()));
  });
}

void CpuExecutor::ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  stream_.Post([this, id, slot, kind] { listener_->OnReadOut(RunReadOut(id, slot, kind)); });
}

std::vector<double> CpuExecutor::ReadRegister(SlotId slot, Register reg) {
  std::vector<double> values;
  stream_.Run([&] {
    const SlotRegisters& registers = slots_[slot].registers;
    if (!registers.written(reg)) return;
    const absl::Span<const double> contents = registers.Get(reg);
    values.assign(contents.begin(), contents.end());
  });
  return values;
}

absl::StatusOr<std::vector<BucketTiming>> CpuExecutor::WarmUp(NetworkId network,
                                                              absl::Duration budget) {
  const std::shared_ptr<const Network> found = FindNetwork(network);
  if (found == nullptr) {
    return absl::NotFoundError(absl::StrCat("network ", network, " is not loaded"));
  }
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

absl::StatusOr<std::vector<BucketTiming>> CpuExecutor::MeasureBuckets(const Network& network,
                                                                      absl::Duration budget) const {
  const auto evaluate = [&](int rows) { return TimeEvaluation(network, BatchSize(network, rows)); };
  std::vector<int> buckets;
  for (int rows = 1; rows < options_.max_batch; rows *= 2) buckets.push_back(rows);
  buckets.push_back(options_.max_batch);

  // The first round also prepares LibTorch for every shape, so it counts only if it is the only
  // one.
  constexpr size_t kEnough = 8;
  const SteadyClock::time_point start = SteadyClock::now();
  std::vector<std::vector<absl::Duration>> measured(buckets.size());
  std::vector<absl::Duration> first(buckets.size());
  for (size_t i = 0; i < buckets.size(); ++i) first[i] = evaluate(buckets[i]);
  for (size_t round = 0; round < kEnough && Since(start) < budget; ++round) {
    for (size_t i = 0; i < buckets.size() && Since(start) < budget; ++i) {
      measured[i].push_back(evaluate(buckets[i]));
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

void CpuExecutor::InitializeSlot(Slot& slot, const NetworkInfo& info, const SlotInit& init,
                                 std::vector<double> latents) {
  slot.live = true;
  slot.status = absl::OkStatus();
  slot.channels = info.channels;
  slot.height = info.height;
  slot.width = info.width;
  slot.terms_done = 0;
  const InitialUpdate& initial = init.plan->initial;
  try {
    slot.registers.Reset(static_cast<size_t>(info.channels) * info.height * info.width);
    slot.noise.emplace(init.seed);
    // Drawn even if unused: the noise that follows must not depend on the plan.
    std::vector<double> drawn = slot.noise->Draw(info.channels, info.height, info.width);
    if (latents.empty()) latents = std::move(drawn);
    std::vector<double> noise;
    if (initial.noise != 0.0) noise = slot.noise->Draw(info.channels, info.height, info.width);
    const absl::Span<const float> picture =
        init.image != nullptr ? init.image->pixels : absl::Span<const float>();
    slot.registers.Initialize(initial, picture, latents, noise);
    slot.image = init.image;
  } catch (...) {
    slot.status = StatusOfCurrentException();
  }
}

BatchResult CpuExecutor::RunBatch(const StepBatch& batch, const Network* network) {
  const SteadyClock::time_point start = SteadyClock::now();
  BatchResult result;
  result.id = batch.id;
  if (network == nullptr) {
    result.status = absl::NotFoundError(absl::StrCat("network ", batch.network, " is not loaded"));
  } else {
    result.status = CheckBatch(batch, options_.max_batch, network->info(),
                               [this](SlotId id) { return FindSlot(id); });
  }
  if (result.status.ok()) {
    try {
      Evaluate(batch, *network, &result.row_status);
    } catch (...) {
      result.status = StatusOfCurrentException();
      result.row_status.clear();
    }
  }
  if (!result.status.ok()) {
    // Rows of these samples may already be queued behind this batch; they must not fail the batches
    // they are in.
    for (const EvalRow& row : batch.rows) {
      if (FindSlot(row.slot) != nullptr) slots_[row.slot].status = result.status;
    }
  }
  result.busy = Since(start);
  return result;
}

const CpuExecutor::Slot* CpuExecutor::FindSlot(SlotId slot) const {
  return slot >= 0 && slot < options_.num_slots ? &slots_[slot] : nullptr;
}

void CpuExecutor::Evaluate(const StepBatch& batch, const Network& network,
                           std::vector<absl::Status>* row_status) {
  const NetworkInfo& info = network.info();
  const int64_t elements = int64_t{info.channels} * info.height * info.width;
  const int64_t rows = BatchSize(network, static_cast<int64_t>(batch.rows.size()));
  const std::vector<float> neutral_rho(info.num_skips, 1.0f);
  // Rows that only fill the batch keep these.
  std::vector<DenoiserRow> conditions(rows, DenoiserRow{1.0, 1.0, -1, neutral_rho});
  at::Tensor x = at::zeros({rows, info.channels, info.height, info.width}, at::kFloat);
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const EvalRow& row = batch.rows[i];
    if (!slots_[row.slot].status.ok()) continue;
    const SolverStep& step = row.plan->steps[row.step];
    const DenoiserTerm& term = step.terms[row.term];
    conditions[i] = {step.sigma, term.conditioning_sigma, term.conditional ? row.class_index : -1,
                     term.rho};
    const absl::Span<const double> eval = slots_[row.slot].registers.Get(kEval);
    float* out = x.mutable_data_ptr<float>() + static_cast<int64_t>(i) * elements;
    for (int64_t k = 0; k < elements; ++k) out[k] = static_cast<float>(eval[k]);
  }
  const at::Tensor denoised = network.Denoise(x, conditions);
  const float* data = denoised.const_data_ptr<float>();
  row_status->reserve(batch.rows.size());
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const absl::Span<const float> d(data + static_cast<int64_t>(i) * elements, elements);
    row_status->push_back(FinishRow(batch.rows[i], d));
  }
}

absl::Status CpuExecutor::FinishRow(const EvalRow& row, absl::Span<const float> denoised) {
  Slot& slot = slots_[row.slot];
  if (!slot.status.ok()) return slot.status;
  const SolverStep& step = row.plan->steps[row.step];
  if (!slot.registers.AddDenoised(row.term == 0, step.terms[row.term].weight, denoised)) {
    slot.status =
        absl::InternalError(absl::StrCat("the network's output is not finite at step ", row.step));
    return slot.status;
  }
  slot.terms_done = row.term + 1;
  if (slot.terms_done < static_cast<int>(step.terms.size())) return absl::OkStatus();
  slot.terms_done = 0;
  if (slot.image != nullptr && !slot.image->mask.empty()) {
    slot.registers.MaskDenoised(slot.image->mask, slot.image->pixels);
  }
  std::vector<double> noise;
  if (step.uses_noise) noise = slot.noise->Draw(slot.channels, slot.height, slot.width);
  slot.status = slot.registers.Apply(step, noise);
  return slot.status;
}

ReadOutResult CpuExecutor::RunReadOut(uint64_t id, SlotId slot, ReadOutKind kind) const {
  ReadOutResult result;
  result.id = id;
  const Slot* found = FindSlot(slot);
  if (found == nullptr || !found->live) {
    result.status = absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not allocated"));
    return result;
  }
  const Slot& state = *found;
  const Register reg = kind == ReadOutKind::kFinal ? kBase : kDenoised;
  if (!state.status.ok()) {
    result.status = state.status;
    return result;
  }
  if (!state.registers.written(reg)) {
    result.status = absl::FailedPreconditionError("the sample has not been denoised yet");
    return result;
  }
  const absl::Span<const double> values = state.registers.Get(reg);
  try {
    result.pixels = {state.height, state.width, state.channels, {}};
    result.pixels.data.resize(values.size());
  } catch (...) {
    result.status = StatusOfCurrentException();
    return result;
  }
  const size_t plane = static_cast<size_t>(state.height) * state.width;
  for (size_t p = 0; p < plane; ++p) {
    for (int c = 0; c < state.channels; ++c) {
      result.pixels.data[p * state.channels + c] = ToPixel(values[c * plane + p]);
    }
  }
  return result;
}

}  // namespace skipstream
