#include "server/engine/scheduler.h"

#include <algorithm>

namespace skipstream {

Scheduler::Rank Scheduler::RankOf(SampleId sample, const Entry& entry) const {
  const int classes_below_high =
      static_cast<int>(Priority::kHigh) - static_cast<int>(entry.priority);
  const int64_t work =
      entry.remaining_rows + int64_t{options_.rows_per_priority_class} * classes_below_high;
  return {entry.accepted + options_.ageing_per_row * work, sample};
}

void Scheduler::Insert(SampleId sample, const Ranked& ranked) {
  Queues& queues = networks_[ranked.entry.ready.network];
  (ranked.has_slot ? queues.running : queues.waiting).insert(RankOf(sample, ranked.entry));
}

void Scheduler::Erase(SampleId sample, const Ranked& ranked) {
  const auto queues = networks_.find(ranked.entry.ready.network);
  (ranked.has_slot ? queues->second.running : queues->second.waiting)
      .erase(RankOf(sample, ranked.entry));
  if (queues->second.running.empty() && queues->second.waiting.empty()) networks_.erase(queues);
}

void Scheduler::Add(SampleId sample, const Entry& entry) {
  const Ranked& ranked = samples_[sample] = {entry, /*has_slot=*/false};
  Insert(sample, ranked);
}

void Scheduler::Remove(SampleId sample) {
  const auto it = samples_.find(sample);
  if (it == samples_.end()) return;
  Erase(sample, it->second);
  samples_.erase(it);
}

void Scheduler::RowsSubmitted(SampleId sample, int rows, const Ready& next) {
  const auto it = samples_.find(sample);
  Erase(sample, it->second);
  it->second.has_slot = true;
  it->second.entry.remaining_rows -= rows;
  if (it->second.entry.remaining_rows == 0) {
    samples_.erase(it);
  } else {
    it->second.entry.ready = next;
    Insert(sample, it->second);
  }
}

std::vector<Scheduler::Share> Scheduler::Pick(int max_rows, int free_slots) const {
  constexpr Rank kNone = {absl::InfiniteFuture(), 0};
  const auto front = [&](const std::set<Rank>& queue) {
    return queue.empty() ? kNone : *queue.begin();
  };

  const Queues* chosen = nullptr;
  Rank best = kNone;
  for (const auto& [network, queues] : networks_) {
    Rank head = front(queues.running);
    if (free_slots > 0) head = std::min(head, front(queues.waiting));
    if (head < best) {
      best = head;
      chosen = &queues;
    }
  }
  std::vector<Share> picked;
  if (chosen == nullptr) return picked;

  auto running = chosen->running.begin();
  auto waiting = chosen->waiting.begin();
  const auto take = [&](const Rank& rank) {
    const int rows = std::min(samples_.at(rank.second).entry.ready.rows, max_rows);
    picked.push_back({rank.second, rows});
    max_rows -= rows;
  };
  while (max_rows > 0) {
    const bool can_run = running != chosen->running.end();
    const bool can_start = free_slots > 0 && waiting != chosen->waiting.end();
    if (!can_run && !can_start) break;
    if (can_run && (!can_start || *running < *waiting)) {
      take(*running++);
    } else {
      take(*waiting++);
      --free_slots;
    }
  }
  return picked;
}

}  // namespace skipstream
