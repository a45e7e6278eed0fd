#include "model/execution/backend_executor.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "c10/core/InferenceMode.h"
#include "model/backends/exception_status.h"
#include "model/execution/bucket_timing.h"
#include "model/families/edm_unet/unet.h"

namespace skipstream {
namespace {

Extent ExtentOf(const NetworkInfo& info) { return {info.channels, info.height, info.width}; }
Extent ExtentOf(const SlotState& slot) { return {slot.channels, slot.height, slot.width}; }

[[noreturn]] void CallerBug(const char* what, int id) {
  std::fprintf(stderr, "Executor: %s %d\n", what, id);
  std::abort();
}

absl::Status NotLoaded(NetworkId network) {
  return absl::NotFoundError(absl::StrCat("network ", network, " is not loaded"));
}

absl::Status FailureStatus(int32_t failures, int step) {
  if (failures & kDenoisedNotFinite) {
    return absl::InternalError(absl::StrCat("the network's output is not finite at step ", step));
  }
  return absl::InternalError("the solver's state is not finite");
}

absl::Status CheckOptions(const ExecutorOptions& options) {
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

// The base of a fresh sample [C, H, W]: draws its latents, unless they are given, and the noise its
// plan starts with.
std::vector<double> InitialState(const SlotInit& init, Extent extent, std::vector<double> latents,
                                 NoiseSource& noise) {
  const auto draw = [&] { return noise.Draw(extent.channels, extent.height, extent.width); };
  // Drawn even if unused: the noise that follows must not depend on the plan.
  std::vector<double> drawn = draw();
  if (latents.empty()) latents = std::move(drawn);
  const InitialUpdate& initial = init.plan->initial;
  std::vector<double> fresh;
  if (initial.noise != 0.0) fresh = draw();
  for (size_t i = 0; i < latents.size(); ++i) {
    latents[i] = (initial.image != 0.0 ? initial.image * init.image->pixels[i] : 0.0) +
                 (initial.latent != 0.0 ? initial.latent * latents[i] : 0.0) +
                 (initial.noise != 0.0 ? initial.noise * fresh[i] : 0.0);
  }
  return latents;
}

}  // namespace

// --- Construction ---

absl::StatusOr<std::unique_ptr<BackendExecutor>> BackendExecutor::Create(
    const ExecutorOptions& options, std::unique_ptr<Backend> backend) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (options.kernels == Kernels::kReference && !backend->has_reference_kernels()) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernels: the reference kernels run on the CPU, not on ", backend->name()));
  }
  return std::unique_ptr<BackendExecutor>(new BackendExecutor(options, std::move(backend)));
}

BackendExecutor::BackendExecutor(const ExecutorOptions& options, std::unique_ptr<Backend> backend)
    : options_(options), backend_(std::move(backend)), slots_(options.num_slots) {
  for (SlotId slot = options.num_slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  const auto enter = [this] {
    thread_local const c10::InferenceMode inference;  // until the thread ends
    backend_->Enter();
  };
  stream_.Post(enter);
  if (backend_->max_in_flight() > 1) reports_.emplace().Post(enter);
}

BackendExecutor::~BackendExecutor() {
  stream_.Stop();
  if (reports_) reports_->Stop();
}

void BackendExecutor::Report(std::function<void()> report) {
  if (reports_) {
    reports_->Post(std::move(report));
  } else {
    report();
  }
}

void BackendExecutor::RunThrowing(const std::function<void()>& operation) {
  std::exception_ptr exception;
  stream_.Run([&] {
    try {
      operation();
    } catch (...) {
      exception = std::current_exception();
    }
  });
  if (exception != nullptr) std::rethrow_exception(exception);
}

// --- Networks ---

absl::StatusOr<NetworkId> BackendExecutor::LoadNetwork(const std::string& path) {
  return LoadNetwork(path, "");
}

absl::StatusOr<NetworkId> BackendExecutor::LoadNetwork(const std::string& path,
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

absl::StatusOr<std::unique_ptr<Network>> BackendExecutor::Load(const std::string& path,
                                                               const std::string& prefix) {
  absl::StatusOr<std::unique_ptr<Network>> network =
      Network::Load(path, prefix,
                    [this](const ModelDescription& model, ParameterSource& source,
                           NetworkForm& form) { return backend_->MakeUNet(model, source, form); });
  if (!network.ok() || !backend_->pads_batches()) return network;
  try {
    RunThrowing([&] { (*network)->unet().MoveToDevice(); });
    PrepareGraphs(**network);
  } catch (...) {
    stream_.Run([&] { DropEvaluator(**network); });
    throw;
  }
  return network;
}

void BackendExecutor::PrepareGraphs(Network& network) {
  // From the largest one down: each finds the memory of those before it.
  for (int rows = options_.max_batch; rows > 0;) {
    int made = 0;
    RunThrowing([&] { made = EvaluatorOf(network).Prepare(rows); });
    if (options_.deterministic) return;
    rows = SmallerBucket(std::min(rows, made));  // a larger graph may do the work of one
  }
}

std::shared_ptr<Network> BackendExecutor::FindNetwork(NetworkId network) const {
  const std::lock_guard lock(networks_mutex_);
  const auto it = networks_.find(network);
  return it == networks_.end() ? nullptr : it->second;
}

NetworkInfo BackendExecutor::GetNetworkInfo(NetworkId network) const {
  const std::shared_ptr<const Network> found = FindNetwork(network);
  if (found == nullptr) CallerBug("no network", network);
  return found->info();
}

void BackendExecutor::UnloadNetwork(NetworkId network) {
  const std::lock_guard lock(networks_mutex_);
  auto unloaded = networks_.extract(network);
  if (unloaded.empty()) return;
  stream_.Post([this, network = std::move(unloaded.mapped())] { DropEvaluator(*network); });
}

absl::StatusOr<std::vector<BucketTiming>> BackendExecutor::WarmUp(NetworkId network,
                                                                  absl::Duration budget) {
  absl::StatusOr<std::vector<BucketTiming>> timings = NotLoaded(network);
  stream_.Run([&] {
    // Found here, so that its evaluator is dropped by a later operation.
    const std::shared_ptr<Network> found = FindNetwork(network);
    if (found == nullptr) return;
    try {
      timings = MeasureBuckets(options_.max_batch, budget,
                               [&](int rows) { return EvaluatorOf(*found).Time(rows); });
    } catch (...) {
      timings = StatusOfCurrentException();
    }
  });
  return timings;
}

Evaluator& BackendExecutor::EvaluatorOf(Network& network) {
  // Fused kernels of a CPU give the same bytes whatever shares the batch.
  const bool one_size =
      options_.deterministic &&
      (backend_->pads_batches() || network.info().form.kernels == Kernels::kReference);
  return evaluators_.try_emplace(&network, *backend_, network, options_.max_batch, one_size)
      .first->second;
}

void BackendExecutor::DropEvaluator(const Network& network) {
  const auto dropped = evaluators_.extract(&network);
  if (dropped.empty()) return;
  try {
    backend_->Mark()->Wait();
  } catch (...) {
    return;  // the batches that had been queued report it
  }
}

// --- Slots ---

BackendExecutor::Slot* BackendExecutor::FindSlot(SlotId slot) {
  return slot >= 0 && slot < options_.num_slots ? &slots_[slot] : nullptr;
}

absl::StatusOr<SlotId> BackendExecutor::AllocateSlot(const SlotInit& init) {
  return AllocateSlot(init, {});
}

absl::StatusOr<SlotId> BackendExecutor::AllocateSlot(const SlotInit& init,
                                                     std::vector<double> latents) {
  const std::shared_ptr<const Network> network = FindNetwork(init.network);
  if (network == nullptr) return NotLoaded(init.network);
  if (init.plan == nullptr) return absl::InvalidArgumentError("a slot needs a plan");
  const NetworkInfo& info = network->info();
  if (absl::Status status = CheckInitImage(init, info); !status.ok()) return status;
  if (!latents.empty() && latents.size() != static_cast<size_t>(ExtentOf(info).elements())) {
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
    Slot& slot = slots_[id];
    slot.live = true;
    slot.status = absl::OkStatus();
    slot.channels = shape.channels;
    slot.height = shape.height;
    slot.width = shape.width;
    slot.terms_done = 0;
    try {
      InitializeSlot(slot, init, std::move(latents));
    } catch (...) {
      slot.status = StatusOfCurrentException();
    }
  });
  return id;
}

void BackendExecutor::InitializeSlot(Slot& slot, const SlotInit& init,
                                     std::vector<double> latents) {
  slot.outcome = std::make_shared<Outcome>();
  slot.written.Reset();
  slot.noise.emplace(init.seed);
  const Extent extent = ExtentOf(slot);
  const std::vector<double> state = InitialState(init, extent, std::move(latents), *slot.noise);

  slot.registers = at::empty({kSlotPlanes, extent.elements()},
                             at::TensorOptions(backend_->device()).dtype(at::kDouble));
  std::vector<at::Tensor> staged;
  const at::Tensor base =
      Upload(state.data(), static_cast<int64_t>(state.size() * sizeof(double)), staged)
          .view(at::kDouble);
  backend_->Copy(slot.registers.select(0, kBase), base);
  backend_->Copy(slot.registers.select(0, kEval), base);
  if (init.image != nullptr && !init.image->mask.empty()) {
    const auto upload = [&](const std::vector<float>& values) {
      return Upload(values.data(), static_cast<int64_t>(values.size() * sizeof(float)), staged)
          .view(at::kFloat);
    };
    slot.image = upload(init.image->pixels);
    slot.mask = upload(init.image->mask);
  }
  // Keeps staged memory until the device has read it.
  const std::shared_ptr<DeviceMark> mark = backend_->Mark();
  Report([mark, staged = std::move(staged), outcome = slot.outcome] {
    try {
      mark->Wait();
    } catch (...) {
      outcome->status = StatusOfCurrentException();
    }
  });
}

void BackendExecutor::FreeSlot(SlotId slot) {
  if (slot < 0 || slot >= options_.num_slots ||
      std::find(free_slots_.begin(), free_slots_.end(), slot) != free_slots_.end()) {
    CallerBug("freed a slot that is not allocated:", slot);
  }
  free_slots_.push_back(slot);
  // Memory of a device is handed out again in the order of its operations, so evaluations that are
  // queued may still use it.
  stream_.Post([this, slot] { slots_[slot] = Slot(); });
}

at::Tensor BackendExecutor::Upload(const void* data, int64_t bytes,
                                   std::vector<at::Tensor>& staged) {
  const at::Tensor host = staged.emplace_back(backend_->HostBuffer(bytes));
  std::memcpy(host.mutable_data_ptr(), data, bytes);
  at::Tensor uploaded = at::empty({bytes}, at::TensorOptions(backend_->device()).dtype(at::kByte));
  backend_->Copy(uploaded, host);
  return uploaded;
}

std::vector<double> BackendExecutor::ReadRegister(SlotId slot, Register reg) {
  std::vector<double> values;
  stream_.Run([&] {
    const Slot& state = slots_[slot];
    if (!state.written.Has(reg)) return;
    const at::Tensor contents = state.registers.select(0, reg).cpu();
    const auto* const data = contents.const_data_ptr<double>();
    values.assign(data, data + contents.numel());
  });
  return values;
}

// --- Batches ---

void BackendExecutor::Submit(StepBatch batch) {
  const std::lock_guard lock(networks_mutex_);
  // The network lives until this has run: its evaluator is dropped by a later operation.
  const auto it = networks_.find(batch.network);
  stream_.Post([this, batch = std::move(batch),
                network = it == networks_.end() ? nullptr : it->second]() mutable {
    const std::shared_ptr<Pending> pending = Queue(std::move(batch), network.get());
    Report([this, pending] { listener_->OnBatchDone(Finish(*pending)); });
  });
}

std::shared_ptr<BackendExecutor::Pending> BackendExecutor::Queue(StepBatch batch,
                                                                 Network* network) {
  auto pending = std::make_shared<Pending>();
  pending->batch = std::move(batch);
  pending->status = network == nullptr
                        ? NotLoaded(pending->batch.network)
                        : CheckBatch(pending->batch, options_.max_batch, network->info(),
                                     [this](SlotId slot) { return FindSlot(slot); });
  if (!pending->status.ok()) {
    FailSamples(pending->batch, pending->status);
    return pending;
  }
  const auto attempt = [&](const auto& action) {
    try {
      action();
    } catch (...) {
      if (pending->status.ok()) pending->status = StatusOfCurrentException();
    }
  };
  attempt([&] { QueueRows(*network, *pending); });
  // A batch that failed halfway has an end as well: the device may be reading its staged memory.
  attempt([&] { pending->end = backend_->Mark(); });
  if (!pending->status.ok()) FailSamples(pending->batch, pending->status);
  return pending;
}

void BackendExecutor::QueueRows(Network& network, Pending& pending) {
  std::vector<PlacedRow> rows;
  for (size_t i = 0; i < pending.batch.rows.size(); ++i) {
    const EvalRow& row = pending.batch.rows[i];
    Slot& slot = slots_[row.slot];
    PlacedRow placed{&row, i};
    if (slot.status.ok()) slot.status = PrepareRow(row, slot, placed, pending.staged);
    if (slot.status.ok()) rows.push_back(placed);
    pending.row_status.push_back(slot.status);
    pending.outcomes.push_back(slot.outcome);
  }
  GroupBySlot(rows);

  Evaluator& evaluator = EvaluatorOf(network);
  pending.begin = backend_->Mark();
  for (size_t done = 0; done < rows.size(); done += pending.evaluations.back().rows.size()) {
    evaluator.Queue(absl::MakeConstSpan(rows).subspan(done), pending.evaluations);
  }
}

absl::Status BackendExecutor::PrepareRow(const EvalRow& row, Slot& slot, PlacedRow& placed,
                                         std::vector<at::Tensor>& staged) {
  placed.registers = slot.registers.mutable_data_ptr<double>();
  if (slot.mask.defined()) {
    placed.image = slot.image.const_data_ptr<float>();
    placed.mask = slot.mask.const_data_ptr<float>();
  }
  const SolverStep& step = row.plan->steps[row.step];
  slot.terms_done = row.term + 1;
  if (slot.terms_done < static_cast<int>(step.terms.size())) return absl::OkStatus();
  slot.terms_done = 0;
  if (step.uses_noise) {
    const std::vector<double> drawn = slot.noise->Draw(slot.channels, slot.height, slot.width);
    const std::vector<float> noise(drawn.begin(), drawn.end());  // exact: they were float32
    const at::Tensor uploaded =
        Upload(noise.data(), static_cast<int64_t>(noise.size() * sizeof(float)), staged)
            .view(at::kFloat);
    placed.noise = uploaded.const_data_ptr<float>();
    staged.push_back(uploaded);
  }
  return slot.written.Apply(step);
}

void BackendExecutor::FailSamples(const StepBatch& batch, const absl::Status& status) {
  for (const EvalRow& row : batch.rows) {
    if (Slot* slot = FindSlot(row.slot); slot != nullptr) slot->status = status;
  }
}

BatchResult BackendExecutor::Finish(Pending& pending) {
  BatchResult result;
  result.id = pending.batch.id;
  if (pending.end != nullptr) {
    try {
      pending.end->Wait();
      if (pending.begin != nullptr) result.busy = pending.end->Since(*pending.begin);
    } catch (...) {
      if (pending.status.ok()) pending.status = StatusOfCurrentException();
    }
  }
  size_t evaluated = 0;
  for (const Evaluator::Queued& evaluation : pending.evaluations) {
    evaluated += evaluation.rows.size();
  }
  // The time of fewer rows would mislead a cost model.
  if (evaluated < pending.batch.rows.size()) result.busy = absl::ZeroDuration();
  result.status = pending.status;
  if (!pending.status.ok()) {
    for (const std::shared_ptr<Outcome>& outcome : pending.outcomes) {
      if (outcome->status.ok()) outcome->status = pending.status;
    }
    return result;
  }
  for (const Evaluator::Queued& evaluation : pending.evaluations) {
    const int32_t* const failures = evaluation.failures.const_data_ptr<int32_t>();
    for (size_t i = 0; i < evaluation.rows.size(); ++i) {
      const PlacedRow& row = evaluation.rows[i];
      const int32_t seen = failures[evaluation.update_of[i]];
      absl::Status& status = pending.outcomes[row.index]->status;
      if (seen != 0 && status.ok()) status = FailureStatus(seen, row.row->step);
    }
  }
  for (size_t i = 0; i < pending.outcomes.size(); ++i) {
    const absl::Status& of_sample = pending.outcomes[i]->status;
    result.row_status.push_back(of_sample.ok() ? pending.row_status[i] : of_sample);
  }
  return result;
}

// --- Read-outs ---

void BackendExecutor::ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  stream_.Post([this, id, slot, kind] { QueueReadOut(id, slot, kind); });
}

void BackendExecutor::QueueReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  struct Reading {
    ReadOutResult result;
    std::shared_ptr<Outcome> outcome;
    at::Tensor device_pixels;
    at::Tensor pixels;  // on the host, once the device has been there
    std::unique_ptr<DeviceMark> mark;
  };
  const auto reading = std::make_shared<Reading>();
  ReadOutResult& result = reading->result;
  result.id = id;
  const Slot* const state = FindSlot(slot);
  const Register reg = kind == ReadOutKind::kFinal ? kBase : kDenoised;
  if (state == nullptr || !state->live) {
    result.status = absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not allocated"));
  } else if (!state->status.ok()) {
    result.status = state->status;
  } else if (!state->written.Has(reg)) {
    result.status = absl::FailedPreconditionError("the sample has not been denoised yet");
  } else {
    try {
      const Extent extent = ExtentOf(*state);
      result.image = {state->height, state->width, state->channels, {}};
      reading->device_pixels = backend_->ToImage(state->registers.select(0, reg), extent);
      reading->pixels = backend_->HostBuffer(extent.elements());
      backend_->Copy(reading->pixels, reading->device_pixels);
      reading->mark = backend_->Mark();
      reading->outcome = state->outcome;
    } catch (...) {
      result.status = StatusOfCurrentException();
    }
  }
  Report([this, reading] {
    ReadOutResult& done = reading->result;
    if (done.status.ok()) {
      try {
        reading->mark->Wait();
        done.status = reading->outcome->status;
        const auto* const data = reading->pixels.const_data_ptr<uint8_t>();
        done.image.data.assign(data, data + reading->pixels.numel());
      } catch (...) {
        done.status = StatusOfCurrentException();
      }
    }
    if (!done.status.ok()) done.image = {};
    listener_->OnReadOut(std::move(done));
  });
}

}  // namespace skipstream
