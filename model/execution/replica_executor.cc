#include "model/execution/replica_executor.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

constexpr SlotId kNoSlot = -1;
constexpr NetworkId kNoNetwork = -1;

[[noreturn]] void CallerBug(const char* what, int id) {
  std::fprintf(stderr, "ReplicaExecutor: %s %d\n", what, id);
  std::abort();
}

absl::Status NotLoaded(NetworkId network) {
  return absl::NotFoundError(absl::StrCat("network ", network, " is not loaded"));
}

absl::Status NotAllocated(SlotId slot) {
  return absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not allocated"));
}

// Returns the time of the smallest bucket that holds `rows`.
absl::Duration TimeOf(const std::vector<BucketTiming>& timings, int rows) {
  for (const BucketTiming& timing : timings) {
    if (timing.rows >= rows) return timing.duration;
  }
  return timings.back().duration;
}

}  // namespace

ReplicaExecutor::ReplicaExecutor(std::vector<std::unique_ptr<Executor>> replicas) {
  if (replicas.empty()) CallerBug("replicas given:", 0);
  max_in_flight_ = replicas.front()->max_in_flight();
  for (std::unique_ptr<Executor>& executor : replicas) {
    max_batch_ += executor->max_batch();
    num_slots_ += executor->num_slots();
    max_in_flight_ = std::min(max_in_flight_, executor->max_in_flight());
    replicas_.push_back({.executor = std::move(executor)});
  }
  slots_.resize(num_slots_);
  for (SlotId slot = num_slots_ - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void ReplicaExecutor::SetListener(ExecutorListener* listener) {
  listener_ = listener;
  for (Replica& replica : replicas_) replica.executor->SetListener(this);
}

// --- Networks ---

absl::StatusOr<NetworkId> ReplicaExecutor::LoadNetwork(const std::string& path) {
  std::vector<NetworkId> loaded;
  for (Replica& replica : replicas_) {
    const absl::StatusOr<NetworkId> network = replica.executor->LoadNetwork(path);
    if (!network.ok()) {
      for (size_t i = 0; i < loaded.size(); ++i) replicas_[i].executor->UnloadNetwork(loaded[i]);
      return network.status();
    }
    loaded.push_back(*network);
  }
  const std::lock_guard lock(networks_mutex_);
  networks_[next_network_] = std::move(loaded);
  return next_network_++;
}

std::vector<NetworkId> ReplicaExecutor::FindNetwork(NetworkId network) const {
  const std::lock_guard lock(networks_mutex_);
  const auto it = networks_.find(network);
  return it == networks_.end() ? std::vector<NetworkId>() : it->second;
}

NetworkInfo ReplicaExecutor::GetNetworkInfo(NetworkId network) const {
  const std::vector<NetworkId> found = FindNetwork(network);
  if (found.empty()) CallerBug("no network", network);
  return replicas_.front().executor->GetNetworkInfo(found.front());
}

void ReplicaExecutor::UnloadNetwork(NetworkId network) {
  std::map<NetworkId, std::vector<NetworkId>>::node_type unloaded;
  {
    const std::lock_guard lock(networks_mutex_);
    unloaded = networks_.extract(network);
  }
  if (unloaded.empty()) return;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    replicas_[i].executor->UnloadNetwork(unloaded.mapped()[i]);
  }
}

absl::StatusOr<std::vector<BucketTiming>> ReplicaExecutor::WarmUp(NetworkId network,
                                                                  absl::Duration budget) {
  using Timings = std::vector<BucketTiming>;
  const std::vector<NetworkId> found = FindNetwork(network);
  if (found.empty()) return NotLoaded(network);
  std::vector<std::future<absl::StatusOr<Timings>>> running;
  for (size_t i = 0; i < replicas_.size(); ++i) {
    running.push_back(std::async(
        std::launch::async, [&, i] { return replicas_[i].executor->WarmUp(found[i], budget); }));
  }
  std::vector<Timings> measured;
  for (auto& replica : running) {
    absl::StatusOr<Timings> timings = replica.get();
    if (!timings.ok()) return timings.status();  // the other futures wait for their replicas
    if (timings->empty()) return absl::InternalError("a replica measured nothing");
    measured.push_back(*std::move(timings));
  }

  std::vector<int> buckets;
  for (int rows = 1; rows < max_batch_; rows *= 2) buckets.push_back(rows);
  buckets.push_back(max_batch_);
  const int replicas = static_cast<int>(replicas_.size());
  Timings timings;
  for (const int rows : buckets) {
    absl::Duration slowest = absl::ZeroDuration();
    for (const Timings& replica : measured) {
      slowest = std::max(slowest, TimeOf(replica, (rows + replicas - 1) / replicas));
    }
    timings.push_back({rows, slowest});
  }
  return timings;
}

// --- Slots ---

absl::StatusOr<SlotId> ReplicaExecutor::AllocateSlot(const SlotInit& init) {
  const std::vector<NetworkId> networks = FindNetwork(init.network);
  if (networks.empty()) return NotLoaded(init.network);
  std::vector<size_t> order(replicas_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) {
    return replicas_[a].slots_in_use < replicas_[b].slots_in_use;
  });
  absl::Status refusal =
      absl::ResourceExhaustedError(absl::StrCat("all ", num_slots_, " slots are taken"));
  for (const size_t i : order) {
    Replica& replica = replicas_[i];
    if (replica.slots_in_use == replica.executor->num_slots()) continue;
    SlotInit local = init;
    local.network = networks[i];
    const absl::StatusOr<SlotId> slot = replica.executor->AllocateSlot(local);
    if (slot.ok()) {
      const SlotId id = free_slots_.back();
      free_slots_.pop_back();
      ++replica.slots_in_use;
      slots_[id] = {.live = true, .replica = i, .local = *slot};
      return id;
    }
    // A replica short of memory does not hold up the others.
    if (!absl::IsResourceExhausted(slot.status())) return slot.status();
    refusal = slot.status();
  }
  return refusal;
}

const ReplicaExecutor::Slot* ReplicaExecutor::FindSlot(SlotId slot) const {
  return slot >= 0 && slot < num_slots_ && slots_[slot].live ? &slots_[slot] : nullptr;
}

void ReplicaExecutor::FreeSlot(SlotId slot) {
  const Slot* found = FindSlot(slot);
  if (found == nullptr) CallerBug("freed a slot that is not allocated:", slot);
  Replica& replica = replicas_[found->replica];
  replica.executor->FreeSlot(found->local);
  --replica.slots_in_use;
  slots_[slot].live = false;
  free_slots_.push_back(slot);
}

void ReplicaExecutor::ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  const Slot* found = FindSlot(slot);
  uint64_t report = 0;
  {
    const std::lock_guard lock(reports_mutex_);
    Operation& read_out = operations_.emplace_back();
    read_out.id = id;
    if (found == nullptr) read_out.refusal = NotAllocated(slot);
    report = next_report_++;
    read_outs_[report] = &read_out;
  }
  // One without a slot is refused by a replica as well, and so reported in its turn.
  const Replica& replica = replicas_[found == nullptr ? 0 : found->replica];
  replica.executor->ReadOut(report, found == nullptr ? kNoSlot : found->local, kind);
}

// --- Batches ---

absl::Status ReplicaExecutor::CheckBatch(const StepBatch& batch, bool network_loaded) const {
  if (!network_loaded) return NotLoaded(batch.network);
  if (batch.rows.empty() || batch.rows.size() > static_cast<size_t>(max_batch_)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a batch has 1 to ", max_batch_, " rows, not ", batch.rows.size()));
  }
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    if (FindSlot(batch.rows[i].slot) != nullptr) continue;
    const absl::Status status = NotAllocated(batch.rows[i].slot);
    return absl::Status(status.code(), absl::StrCat("row ", i, ": ", status.message()));
  }
  return absl::OkStatus();
}

std::vector<ReplicaExecutor::Part> ReplicaExecutor::Split(const StepBatch& batch) const {
  std::vector<Part> parts;
  constexpr size_t kNone = -1;
  std::vector<size_t> open(replicas_.size(), kNone);  // the part that is being filled, by replica
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const Slot* slot = FindSlot(batch.rows[i].slot);
    if (slot == nullptr) continue;
    const size_t room = replicas_[slot->replica].executor->max_batch();
    size_t& part = open[slot->replica];
    if (part == kNone || parts[part].rows.size() == room) {
      part = parts.size();
      parts.push_back({.replica = slot->replica, .rows = {}, .index = part});
    }
    parts[part].rows.push_back(i);
  }
  if (parts.empty()) parts.push_back({});
  return parts;
}

StepBatch ReplicaExecutor::MakePart(const StepBatch& batch, const Part& part, NetworkId network,
                                    bool refused) const {
  StepBatch made{.id = 0, .network = network, .rows = {}};
  for (const size_t row : part.rows) {
    made.rows.push_back(batch.rows[row]);
    made.rows.back().slot = FindSlot(batch.rows[row].slot)->local;
  }
  // A row without a slot makes the replica refuse the part. It then knows that these samples
  // failed: rows of theirs that come later fail alone, and not the batches they are in.
  if (refused && !batch.rows.empty()) {
    made.rows.push_back(batch.rows.front());
    made.rows.back().slot = kNoSlot;
  }
  return made;
}

void ReplicaExecutor::Submit(StepBatch batch) {
  const std::vector<NetworkId> networks = FindNetwork(batch.network);
  absl::Status refusal = CheckBatch(batch, !networks.empty());
  const bool refused = !refusal.ok();
  std::vector<Part> parts = Split(batch);
  std::vector<std::pair<Executor*, StepBatch>> made;
  for (const Part& part : parts) {
    const NetworkId network = networks.empty() ? kNoNetwork : networks[part.replica];
    made.emplace_back(replicas_[part.replica].executor.get(),
                      MakePart(batch, part, network, refused));
  }
  {
    // All parts are known before the first one can be reported.
    const std::lock_guard lock(reports_mutex_);
    operations_.push_back({.id = batch.id,
                           .refusal = std::move(refusal),
                           .open = parts.size(),
                           .read_out = std::nullopt,
                           .part_status = std::vector<absl::Status>(parts.size()),
                           .row_status = std::vector<absl::Status>(batch.rows.size()),
                           .busy = std::vector<absl::Duration>(replicas_.size())});
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i].batch = &operations_.back();
      made[i].second.id = next_report_;
      parts_[next_report_++] = std::move(parts[i]);
    }
  }
  for (auto& [executor, part] : made) executor->Submit(std::move(part));
}

// --- Reports ---

void ReplicaExecutor::OnBatchDone(BatchResult result) {
  std::unique_lock lock(reports_mutex_);
  const auto node = parts_.extract(result.id);
  const Part& part = node.mapped();
  Operation& batch = *part.batch;
  absl::Status status = std::move(result.status);
  if (status.ok() && result.row_status.size() != part.rows.size()) {
    status = absl::InternalError(absl::StrCat("a replica reported ", result.row_status.size(),
                                              " results for ", part.rows.size(), " rows"));
  }
  for (size_t i = 0; i < part.rows.size(); ++i) {
    batch.row_status[part.rows[i]] = status.ok() ? std::move(result.row_status[i]) : status;
  }
  batch.part_status[part.index] = std::move(status);
  batch.busy[part.replica] += result.busy;
  --batch.open;
  ReportFinished(lock);
}

void ReplicaExecutor::OnReadOut(ReadOutResult result) {
  std::unique_lock lock(reports_mutex_);
  Operation& read_out = *read_outs_.extract(result.id).mapped();
  result.id = read_out.id;
  if (!read_out.refusal.ok()) result = {read_out.id, read_out.refusal, {}};
  read_out.read_out = std::move(result);
  --read_out.open;
  ReportFinished(lock);
}

// Order is kept by one thread at a time reporting, from the front; it also finds what others finish
// meanwhile.
void ReplicaExecutor::ReportFinished(std::unique_lock<std::mutex>& lock) {
  if (reporting_) return;
  reporting_ = true;
  while (!operations_.empty() && operations_.front().open == 0) {
    Operation finished = std::move(operations_.front());
    operations_.pop_front();
    lock.unlock();
    if (finished.read_out) {
      listener_->OnReadOut(*std::move(finished.read_out));
    } else {
      listener_->OnBatchDone(Merge(std::move(finished)));
    }
    lock.lock();
  }
  reporting_ = false;
}

BatchResult ReplicaExecutor::Merge(Operation batch) {
  BatchResult result{.id = batch.id,
                     .status = std::move(batch.refusal),
                     .row_status = {},
                     .busy = *std::max_element(batch.busy.begin(), batch.busy.end())};
  const bool all_failed = std::none_of(batch.part_status.begin(), batch.part_status.end(),
                                       [](const absl::Status& status) { return status.ok(); });
  if (result.status.ok() && all_failed) result.status = std::move(batch.part_status.front());
  if (result.status.ok()) result.row_status = std::move(batch.row_status);
  return result;
}

}  // namespace skipstream
