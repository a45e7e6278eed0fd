#include "tests/testing/puppet_executor.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

// splitmix64's finalizer over a running state: every bit of every value counts, and so does the
// order.
uint64_t Stir(uint64_t state, uint64_t value) {
  uint64_t z = state * 0x9e3779b97f4a7c15u + value + 1;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t Stir(uint64_t state, double value) { return Stir(state, std::bit_cast<uint64_t>(value)); }

uint64_t StirText(uint64_t state, std::string_view text) {
  for (const char c : text) state = Stir(state, static_cast<uint64_t>(c));
  return state;
}

uint64_t StirRow(uint64_t digest, const EvalRow& row) {
  const SolverStep& step = row.plan->steps[row.step];
  const DenoiserTerm& term = step.terms[row.term];
  digest = Stir(digest, step.sigma);
  digest = Stir(digest, term.weight);
  digest = Stir(digest, term.conditioning_sigma);
  for (const float rho : term.rho) digest = Stir(digest, static_cast<double>(rho));
  for (const auto& coefficients : step.a) {
    for (const double coefficient : coefficients) digest = Stir(digest, coefficient);
  }
  digest = Stir(digest, static_cast<uint64_t>(term.conditional ? row.class_index : -1));
  digest = Stir(digest, static_cast<uint64_t>(term.network));
  return digest;
}

}  // namespace

NetworkInfo PuppetExecutor::DefaultInfo() {
  NetworkInfo info;
  info.preconditioning = "EDMPrecond";
  info.architecture = "Puppet";
  info.channels = 3;
  info.height = 4;
  info.width = 4;
  info.num_classes = 10;
  info.num_skips = 4;
  info.sigma_max = std::numeric_limits<double>::infinity();
  info.parameter_count = 1;
  return info;
}

PuppetExecutor::PuppetExecutor(Options options) : options_(std::move(options)) {
  for (SlotId slot = 0; slot < options_.num_slots; ++slot) free_slots_.insert(slot);
  if (options_.automatic) SetAutomatic();
}

PuppetExecutor::~PuppetExecutor() { StopThread(); }

void PuppetExecutor::StopThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

// --- Running ---

void PuppetExecutor::SetAutomatic() {
  thread_ = std::thread([this] { RunThread(); });
}

void PuppetExecutor::RunThread() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !stream_.empty() || stopping_; });
    if (stream_.empty()) return;
    std::optional<Report> report = RunToNextReport();
    if (!report) continue;
    lock.unlock();
    Deliver(*std::move(report));
    lock.lock();
  }
}

bool PuppetExecutor::CompleteNext() {
  std::optional<Report> report;
  {
    std::lock_guard lock(mutex_);
    report = RunToNextReport();
  }
  if (!report) return false;
  Deliver(*std::move(report));
  return true;
}

bool PuppetExecutor::CompleteBatch() {
  while (true) {
    std::optional<Report> report;
    {
      std::lock_guard lock(mutex_);
      report = RunToNextReport();
    }
    if (!report) return false;
    const bool is_batch = report->batch.has_value();
    Deliver(*std::move(report));
    if (is_batch) return true;
  }
}

void PuppetExecutor::CompleteAll() {
  while (CompleteNext()) {
  }
}

std::optional<PuppetExecutor::Report> PuppetExecutor::RunToNextReport() {
  while (!stream_.empty()) {
    const Operation operation = std::move(stream_.front());
    stream_.pop_front();
    if (operation.initialize) {
      const auto& [slot, init] = *operation.initialize;
      SlotState& state = slots_[slot] = SlotState{.seed = init.seed, .network = init.network};
      state.digest = Stir(Stir(0, init.seed), init.plan->initial.latent);
      if (init.image != nullptr) {
        for (const float v : init.image->pixels) state.digest = Stir(state.digest, double{v});
        for (const float v : init.image->mask) state.digest = Stir(state.digest, double{v});
      }
    } else if (operation.batch) {
      return Report{.batch = RunBatch(*operation.batch), .read = std::nullopt};
    } else {
      return Report{.batch = std::nullopt, .read = RunReadOut(*operation.read)};
    }
  }
  return std::nullopt;
}

BatchResult PuppetExecutor::RunBatch(const StepBatch& batch) {
  const int rows = static_cast<int>(batch.rows.size());
  BatchResult result{.id = batch.id,
                     .status = BatchFault(),
                     .row_status = {},
                     .busy = options_.evaluation_time(rows)};
  for (const EvalRow& row : batch.rows) {
    SlotState& state = slots_[row.slot];
    if (row.step != state.next_step || row.term != state.next_term) {
      Violation(absl::StrCat("seed ", state.seed, " submitted step ", row.step, " term ", row.term,
                             " instead of ", state.next_step, " term ", state.next_term));
    }
    const DenoiserTerm& term = row.plan->steps[row.step].terms[row.term];
    if (term.network == 0 && state.network != batch.network) {
      Violation("a batch holds a slot of another network");
    }
    state.digest = StirRow(state.digest, row);
    if (++state.next_term == static_cast<int>(row.plan->steps[row.step].terms.size())) {
      state.next_term = 0;
      ++state.next_step;
    }
    result.row_status.push_back(
        RowFault({state.seed, row.slot, row.class_index, row.step, row.term}));
  }
  if (!result.status.ok()) result.row_status.clear();
  --batches_in_flight_;
  return result;
}

ReadOutResult PuppetExecutor::RunReadOut(const Operation::Read& read) {
  const SlotState& state = slots_[read.slot];
  ReadOutResult result{.id = read.id, .status = ReadOutFault(state.seed, read.kind), .image = {}};
  if (!result.status.ok()) return result;
  const NetworkInfo& info = options_.info;
  result.image = {info.height, info.width, info.channels, {}};
  result.image.data.resize(static_cast<size_t>(info.height) * info.width * info.channels);
  uint64_t digest = Stir(state.digest, static_cast<uint64_t>(read.kind));
  for (uint8_t& value : result.image.data) {
    digest = Stir(digest, uint64_t{0});
    value = static_cast<uint8_t>(digest);
  }
  return result;
}

void PuppetExecutor::Deliver(Report report) {
  if (report.batch) {
    listener_->OnBatchDone(*std::move(report.batch));
  } else {
    listener_->OnReadOut(*std::move(report.read));
  }
}

// --- Looking ---

void PuppetExecutor::WaitForBatches(int count) const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return batches_submitted_ >= count; });
}

std::vector<PuppetExecutor::Call> PuppetExecutor::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

std::vector<PuppetExecutor::Call> PuppetExecutor::batches() const {
  std::vector<Call> batches = calls();
  std::erase_if(batches, [](const Call& call) { return call.kind != Call::kSubmit; });
  return batches;
}

int PuppetExecutor::slots_in_use() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(allocated_.size());
}

std::set<NetworkId> PuppetExecutor::networks() const {
  std::lock_guard lock(mutex_);
  std::set<NetworkId> ids;
  for (const auto& [id, path] : networks_) ids.insert(id);
  return ids;
}

std::vector<std::string> PuppetExecutor::violations() const {
  std::lock_guard lock(mutex_);
  return violations_;
}

// --- Executor ---

void PuppetExecutor::SetListener(ExecutorListener* listener) {
  std::lock_guard lock(mutex_);
  listener_ = listener;
}

absl::StatusOr<NetworkId> PuppetExecutor::LoadNetwork(const std::string& path) {
  std::lock_guard lock(mutex_);
  // Resolves a path that is a descriptor.
  std::error_code error;
  const std::filesystem::path real = std::filesystem::read_symlink(path, error);
  const std::string file = error ? path : real.string();
  if (absl::Status fault = LoadFault(file); !fault.ok()) return fault;
  const NetworkId network = next_network_++;
  networks_[network] = file;
  return network;
}

NetworkInfo PuppetExecutor::GetNetworkInfo(NetworkId network) const {
  std::lock_guard lock(mutex_);
  NetworkInfo info = options_.info;
  uint64_t digest = StirText(0, networks_.at(network));
  for (int i = 0; i < 4; ++i) {
    absl::StrAppend(&info.sha256, absl::Hex(digest, absl::kZeroPad16));
    digest = Stir(digest, uint64_t{0});
  }
  return info;
}

void PuppetExecutor::UnloadNetwork(NetworkId network) {
  std::lock_guard lock(mutex_);
  if (networks_.erase(network) == 0) Violation("unloaded a network that is not loaded");
}

absl::StatusOr<std::vector<BucketTiming>> PuppetExecutor::WarmUp(NetworkId, absl::Duration) {
  std::vector<BucketTiming> timings;
  for (int rows = 1; rows < options_.max_batch; rows *= 2) {
    timings.push_back({rows, options_.evaluation_time(rows)});
  }
  timings.push_back({options_.max_batch, options_.evaluation_time(options_.max_batch)});
  return timings;
}

absl::StatusOr<SlotId> PuppetExecutor::AllocateSlot(const SlotInit& init) {
  std::lock_guard lock(mutex_);
  if (absl::Status fault = AllocateFault(init.seed); !fault.ok()) return fault;
  if (free_slots_.empty()) return absl::ResourceExhaustedError("all slots are taken");
  const SlotId slot = *free_slots_.begin();
  free_slots_.erase(slot);
  allocated_[slot] = init.seed;
  calls_.push_back({Call::kAllocate, init.network, slot, init.seed, {}});
  if (networks_.count(init.network) == 0) Violation("a slot for a network that is not loaded");
  Operation operation;
  operation.initialize = {slot, init};
  stream_.push_back(std::move(operation));
  changed_.notify_all();
  return slot;
}

void PuppetExecutor::FreeSlot(SlotId slot) {
  std::lock_guard lock(mutex_);
  const auto it = allocated_.find(slot);
  if (it == allocated_.end()) {
    Violation("freed a slot that is not allocated");
    return;
  }
  calls_.push_back({Call::kFree, 0, slot, it->second, {}});
  allocated_.erase(it);
  free_slots_.insert(slot);
}

void PuppetExecutor::Submit(StepBatch batch) {
  std::lock_guard lock(mutex_);
  Call call{Call::kSubmit, batch.network, 0, 0, {}};
  std::map<SlotId, const EvalRow*> last_rows;
  for (const EvalRow& row : batch.rows) {
    const auto it = allocated_.find(row.slot);
    if (it == allocated_.end()) Violation("a row uses a slot that is not allocated");
    const EvalRow*& last = last_rows[row.slot];
    if (last != nullptr && (row.step != last->step || row.term != last->term + 1)) {
      Violation("a batch uses a slot twice, not for consecutive terms of one step");
    }
    last = &row;
    const uint64_t seed = it == allocated_.end() ? 0 : it->second;
    call.rows.push_back({seed, row.slot, row.class_index, row.step, row.term});
  }
  if (batch.rows.empty()) Violation("an empty batch");
  if (static_cast<int>(batch.rows.size()) > max_batch()) Violation("a batch over max_batch");
  if (++batches_in_flight_ > max_in_flight()) Violation("more batches than max_in_flight");
  if (networks_.count(batch.network) == 0) Violation("a batch for a network that is not loaded");
  calls_.push_back(std::move(call));
  ++batches_submitted_;
  Operation operation;
  operation.batch = std::move(batch);
  stream_.push_back(std::move(operation));
  changed_.notify_all();
}

void PuppetExecutor::ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  std::lock_guard lock(mutex_);
  const auto it = allocated_.find(slot);
  if (it == allocated_.end()) Violation("read out a slot that is not allocated");
  const uint64_t seed = it == allocated_.end() ? 0 : it->second;
  const auto call_kind = kind == ReadOutKind::kFinal ? Call::kReadFinal : Call::kReadPreview;
  calls_.push_back({call_kind, 0, slot, seed, {}});
  Operation operation;
  operation.read = {id, slot, kind};
  stream_.push_back(std::move(operation));
  changed_.notify_all();
}

}  // namespace skipstream
