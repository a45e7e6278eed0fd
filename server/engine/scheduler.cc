#include "server/engine/scheduler.h"

#include <algorithm>

namespace skipstream {
namespace {

// Factor on times that are estimates.
constexpr double kMargin = 1.5;

constexpr SampleId kLastSample = ~SampleId{0};

const Tenant kDefaultTenant;

const Tenant& TenantIn(const Scheduler::Entry& entry) {
  return entry.tenant ? *entry.tenant : kDefaultTenant;
}

}  // namespace

absl::Time Scheduler::LatestStart(const Entry& entry) {
  return entry.deadline - kMargin * entry.remaining_rows * entry.time_per_row;
}

Scheduler::Rank Scheduler::RankOf(SampleId sample, const Ranked& ranked) const {
  const Entry& entry = ranked.entry;
  if (ranked.at_risk) return {false, entry.deadline, sample};
  const int classes_below_high =
      static_cast<int>(Priority::kHigh) - static_cast<int>(entry.priority);
  const int64_t work =
      entry.remaining_rows + int64_t{options_.rows_per_priority_class} * classes_below_high;
  return {true, entry.accepted + options_.ageing_per_row * work, sample};
}

Scheduler::TenantQueues& Scheduler::TenantOf(const Entry& entry) {
  const Tenant& tenant = TenantIn(entry);
  const auto [it, is_new] = tenants_.try_emplace(tenant.name);
  if (is_new) it->second.served = virtual_time_;
  it->second.weight = tenant.weight;
  return it->second;
}

void Scheduler::Insert(SampleId sample, Ranked& ranked) {
  const Entry& entry = ranked.entry;
  Queues& queues = ranked.tenant->networks[entry.ready.network];
  queues.max_batch = entry.ready.max_batch;
  (ranked.has_slot ? queues.running : queues.waiting).insert(RankOf(sample, ranked));
  Account(ranked, 1);
  if (HasDeadline(entry) && !ranked.at_risk) latest_starts_.insert({LatestStart(entry), sample});
}

void Scheduler::Erase(SampleId sample, Ranked& ranked) {
  const Entry& entry = ranked.entry;
  const auto queues = ranked.tenant->networks.find(entry.ready.network);
  (ranked.has_slot ? queues->second.running : queues->second.waiting).erase(RankOf(sample, ranked));
  if (queues->second.running.empty() && queues->second.waiting.empty()) {
    ranked.tenant->networks.erase(queues);
  }
  Account(ranked, -1);
  if (HasDeadline(entry)) latest_starts_.erase({LatestStart(entry), sample});
}

void Scheduler::Account(const Ranked& ranked, int sign) {
  const Entry& entry = ranked.entry;
  const absl::Duration time = sign * entry.remaining_rows * entry.device_time_per_row;
  ranked.tenant->remaining_rows += sign * entry.remaining_rows;
  ranked.tenant->remaining_time += time;
  if (!HasDeadline(entry)) return;
  deadline_time_ += time;
  auto& times = ranked.tenant->deadline_times;
  absl::Duration& of_deadline = times[entry.deadline];
  of_deadline += time;
  if (of_deadline == absl::ZeroDuration()) times.erase(entry.deadline);
}

void Scheduler::Forget(SampleId sample) {
  const auto it = samples_.find(sample);
  TenantQueues* const tenant = it->second.tenant;
  if (it->second.has_slot) --tenant->slots;
  const std::string name = TenantIn(it->second.entry).name;
  samples_.erase(it);
  if (tenant->networks.empty()) tenants_.erase(name);
}

void Scheduler::Add(SampleId sample, const Entry& entry) {
  Ranked& ranked = samples_[sample] = {.entry = entry, .tenant = &TenantOf(entry)};
  Insert(sample, ranked);
}

void Scheduler::Remove(SampleId sample) {
  const auto it = samples_.find(sample);
  if (it == samples_.end()) return;
  Erase(sample, it->second);
  Forget(sample);
}

void Scheduler::SetDeadline(SampleId sample, absl::Time deadline) {
  const auto it = samples_.find(sample);
  if (it == samples_.end()) return;
  Erase(sample, it->second);
  it->second.entry.deadline = deadline;
  it->second.at_risk = false;
  Insert(sample, it->second);
}

void Scheduler::RowsSubmitted(SampleId sample, int rows, const Ready& next) {
  const auto it = samples_.find(sample);
  Ranked& ranked = it->second;
  Erase(sample, ranked);
  TenantQueues& tenant = *ranked.tenant;
  virtual_time_ = std::max(virtual_time_, tenant.served);
  tenant.served += rows / tenant.weight;
  if (!ranked.has_slot) ++tenant.slots;
  ranked.has_slot = true;
  ranked.entry.remaining_rows -= rows;
  if (ranked.entry.remaining_rows == 0) return Forget(sample);
  ranked.entry.ready = next;
  Insert(sample, ranked);
}

void Scheduler::RankThoseAtRisk(absl::Time now) {
  // Were they all before it: then only the earliest deadline first makes every one that can be met.
  const absl::Time safe_from = now + kMargin * deadline_time_;
  while (!latest_starts_.empty() && latest_starts_.begin()->first <= safe_from) {
    const SampleId sample = latest_starts_.begin()->second;
    Ranked& ranked = samples_.at(sample);
    Erase(sample, ranked);
    ranked.at_risk = true;
    Insert(sample, ranked);
  }
}

struct Scheduler::Turn {
  const Queues* queues = nullptr;
  std::set<Rank>::const_iterator running;
  std::set<Rank>::const_iterator waiting;
  double served = 0.0;  // with what this batch gives it
  double weight = 1.0;
  int slots = 0;      // with those it is about to get
  int max_slots = 0;  // that it may hold once only reserved ones are left

  bool MayStart(int free_slots, int reserved_slots) const {
    return waiting != queues->waiting.end() && free_slots > 0 &&
           (free_slots > reserved_slots || slots < max_slots);
  }
  // Its best row that can run, null if there is none.
  const Rank* Best(bool may_start) const {
    const bool can_run = running != queues->running.end();
    if (can_run && (!may_start || *running < *waiting)) return &*running;
    return may_start ? &*waiting : nullptr;
  }
};

std::vector<Scheduler::Share> Scheduler::Pick(absl::Time now, int free_slots) {
  RankThoseAtRisk(now);
  const int equal_share = std::max(1, num_slots_ / (static_cast<int>(tenants_.size()) + 1));
  const auto turn_of = [&](const TenantQueues& tenant, const Queues& queues) {
    return Turn{.queues = &queues,
                .running = queues.running.begin(),
                .waiting = queues.waiting.begin(),
                .served = tenant.served,
                .weight = tenant.weight,
                .slots = tenant.slots,
                .max_slots = equal_share};
  };
  const auto best_of = [&](const Turn& turn) {
    return turn.Best(turn.MayStart(free_slots, options_.reserved_slots));
  };

  // The network of the best row of the tenant that was served least.
  NetworkId network = 0;
  const TenantQueues* first = nullptr;
  for (const auto& [name, tenant] : tenants_) {
    if (first != nullptr && tenant.served >= first->served) continue;
    const Rank* best = nullptr;
    for (const auto& [candidate, queues] : tenant.networks) {
      const Rank* head = best_of(turn_of(tenant, queues));
      if (head == nullptr || (best != nullptr && *best < *head)) continue;
      best = head;
      first = &tenant;
      network = candidate;
    }
  }
  std::vector<Share> picked;
  if (first == nullptr) return picked;

  std::vector<Turn> turns;
  for (const auto& [name, tenant] : tenants_) {
    const auto queues = tenant.networks.find(network);
    if (queues != tenant.networks.end()) turns.push_back(turn_of(tenant, queues->second));
  }
  int room = first->networks.at(network).max_batch;
  while (room > 0) {
    Turn* next = nullptr;
    for (Turn& turn : turns) {
      if ((next == nullptr || turn.served < next->served) && best_of(turn) != nullptr) {
        next = &turn;
      }
    }
    if (next == nullptr) break;
    const Rank* best = best_of(*next);
    const SampleId sample = std::get<SampleId>(*best);
    const int rows = std::min(samples_.at(sample).entry.ready.rows, room);
    picked.push_back({sample, rows});
    room -= rows;
    next->served += rows / next->weight;
    if (next->running != next->queues->running.end() && best == &*next->running) {
      ++next->running;
    } else {
      ++next->waiting;
      ++next->slots;
      --free_slots;
    }
  }
  return picked;
}

absl::Duration Scheduler::TimeOfOthers(const Entry& entry, double own_rows) const {
  const Tenant& tenant = TenantIn(entry);
  absl::Duration time = absl::ZeroDuration();
  for (const auto& [name, other] : tenants_) {
    if (name == tenant.name || other.remaining_rows <= 0.0) continue;
    const double due = own_rows * other.weight / tenant.weight;
    time += other.remaining_time * std::min(1.0, due / other.remaining_rows);
  }
  return time;
}

template <typename Ranking>
Scheduler::WorkAhead Scheduler::AheadOf(const Entry& entry, int samples, const Rank& own,
                                        Ranking rank_of) const {
  const auto tenant = tenants_.find(TenantIn(entry).name);
  std::vector<std::pair<Rank, int>> before;
  double own_rows = static_cast<double>(samples) * entry.remaining_rows;
  WorkAhead ahead;
  for (const auto& [id, ranked] : samples_) {
    if (tenant == tenants_.end() || ranked.tenant != &tenant->second) continue;
    const Entry& other = ranked.entry;
    const Rank rank = rank_of(id, ranked);
    if (own < rank) continue;
    own_rows += other.remaining_rows;
    if (other.ready.network == entry.ready.network) {
      before.push_back({rank, other.remaining_rows});
    } else {
      ahead.other_time += other.device_time_per_row * other.remaining_rows;
    }
  }
  std::sort(before.begin(), before.end());
  for (const auto& [rank, rows] : before) ahead.samples.push_back(rows);
  ahead.other_time += TimeOfOthers(entry, own_rows);
  return ahead;
}

Scheduler::WorkAhead Scheduler::AheadByRank(const Entry& entry, int samples) const {
  if (samples_.size() <= kMaxExactSamples) {
    return AheadOf(entry, samples, RankOf(kLastSample, {.entry = entry}),
                   [this](SampleId id, const Ranked& ranked) { return RankOf(id, ranked); });
  }
  double rows = static_cast<double>(samples) * entry.remaining_rows;
  WorkAhead ahead;
  if (const auto tenant = tenants_.find(TenantIn(entry).name); tenant != tenants_.end()) {
    ahead.other_time = tenant->second.remaining_time;
    rows += tenant->second.remaining_rows;
  }
  ahead.other_time += TimeOfOthers(entry, rows);
  return ahead;
}

Scheduler::WorkAhead Scheduler::AheadByDeadline(const Entry& entry, int samples) const {
  if (samples_.size() <= kMaxExactSamples) {
    return AheadOf(
        entry, samples, {false, entry.deadline, kLastSample},
        [](SampleId id, const Ranked& ranked) { return Rank{false, ranked.entry.deadline, id}; });
  }
  double rows = static_cast<double>(samples) * entry.remaining_rows;
  WorkAhead ahead;
  if (const auto tenant = tenants_.find(TenantIn(entry).name); tenant != tenants_.end()) {
    for (const auto& [deadline, time] : tenant->second.deadline_times) {
      if (deadline > entry.deadline) break;
      ahead.other_time += time;
    }
    const absl::Duration all = tenant->second.remaining_time;
    if (all > absl::ZeroDuration()) {
      rows += tenant->second.remaining_rows * absl::FDivDuration(ahead.other_time, all);
    }
  }
  ahead.other_time += TimeOfOthers(entry, rows);
  return ahead;
}

}  // namespace skipstream
