// Decides which samples contribute a row to the next batch. Pure bookkeeping: no executor, and time
// only as an argument.
//
// Between tenants: every row served to a tenant moves its virtual time forward by 1 / weight, and
// the tenant whose virtual time is lowest has the next row: weighted deficit round robin with a
// quantum of one row, the unit of cost. A tenant that comes back after having had nothing to do
// starts where the others are, so idling saves up nothing. Whatever one tenant asks for, the others
// keep their shares.
//
// Within a tenant every sample has a rank, and the lowest goes first:
//   1. samples at risk: those that might miss their deadline if everything that has one went before
//      them; earliest deadline first
//   2. the others by a virtual due time:
//        due = accepted + ageing_per_row * (remaining rows + rows_per_priority_class * classes
//        below high)
// So among samples accepted together the higher priority class goes first, and inside a class the
// one with the least remaining work. Waiting counts: a sample that has waited one ageing_per_row
// longer ranks like one that needs one row less. Nothing starves: whatever is accepted later than
// `due` ranks behind. Ties go to the sample that was added first.
//
// A batch serves one network: that of the best row of the tenant whose turn it is. Nothing else
// about rows has to match. A sample contributes the rows that are ready together (the terms of a
// guided evaluation), or as many of them as there is room for.
#ifndef SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_
#define SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "model/executor.h"
#include "server/engine/generation_job.h"
#include "server/engine/tenant.h"

namespace skipstream {

using SampleId = uint64_t;  // increasing in the order of arrival

// Single-threaded. Choosing a batch of B rows costs O(B * tenants + tenants * networks), keeping
// the order of N samples O(B log N).
class Scheduler {
 public:
  struct Options {
    // How long a sample has to wait to rank like one that needs one row less. Smaller: closer to
    // first come, first served. Larger: closer to least remaining work first.
    absl::Duration ageing_per_row = absl::Milliseconds(50);
    // How many rows one priority class is worth. At least the rows of the longest plan (two per
    // evaluation where it is guided), so that class comes first among samples accepted together;
    // times ageing_per_row it is how much later a sample of the next class may arrive and still
    // overtake.
    int rows_per_priority_class = 4096;
    // The last so many free slots go only to tenants that hold less than an equal share of the
    // slots, counted with one tenant more than there are: a newcomer finds a slot.
    int reserved_slots = 0;
  };

  // What a sample can contribute to one batch.
  struct Ready {
    NetworkId network = 0;
    int rows = 1;
    int max_batch = 1;  // rows that a batch of this network holds
  };
  struct Entry {
    Ready ready;
    Priority priority = Priority::kNormal;
    absl::Time accepted;
    int remaining_rows = 0;                          // not yet submitted, the ready ones included
    std::shared_ptr<const Tenant> tenant = nullptr;  // null: "default"
    absl::Time deadline = absl::InfiniteFuture();
    // How long a row takes at most, when its sample never pauses.
    absl::Duration time_per_row = absl::ZeroDuration();
    // What a row takes of the device in full batches.
    absl::Duration device_time_per_row = absl::ZeroDuration();
  };
  // A sample's part of a batch.
  struct Share {
    SampleId sample = 0;
    int rows = 0;

    friend bool operator==(const Share&, const Share&) = default;
  };
  // What will have been served before a sample, as far as is known now.
  struct WorkAhead {
    // Remaining rows of the same tenant's samples of the same network that go before it, in the
    // order in which they do.
    std::vector<int> samples;
    // Device time of those of other networks, and of what other tenants are due meanwhile.
    absl::Duration other_time = absl::ZeroDuration();
  };

  static constexpr size_t kMaxExactSamples = 512;

  // `num_slots` is the executor's.
  Scheduler(const Options& options, int num_slots) : options_(options), num_slots_(num_slots) {}

  // A sample that has no slot yet and at least one remaining row.
  void Add(SampleId sample, const Entry& entry);

  // Forgets the sample; unknown ones are ignored.
  void Remove(SampleId sample);

  // The sample's deadline is another one now; unknown ones are ignored.
  void SetDeadline(SampleId sample, absl::Time deadline);

  // The next batch, best first: all rows of one network, at most as many as a batch of it holds, of
  // samples of which at most `free_slots` have no slot. Empty if nothing can run.
  std::vector<Share> Pick(absl::Time now, int free_slots);

  // The sample got a slot if it had none, and `rows` of its ready rows were submitted; `next` are
  // those that are ready now. After its last row it is forgotten and its slot is free.
  void RowsSubmitted(SampleId sample, int rows, const Ready& next);

  // For samples like `entry`, were they added now: what ranks before them, or what has to be done
  // before their deadline besides, as samples without a deadline or with a later one give way to
  // those at risk. `samples`: how many like it come together. O(N log N) up to kMaxExactSamples;
  // with more AheadByRank is everything of the tenant.
  WorkAhead AheadByRank(const Entry& entry, int samples = 1) const;
  WorkAhead AheadByDeadline(const Entry& entry, int samples = 1) const;

 private:
  // At risk or not, deadline or due time, arrival.
  using Rank = std::tuple<bool, absl::Time, SampleId>;
  struct Queues {
    std::set<Rank> running;  // have a slot
    std::set<Rank> waiting;  // need one
    int max_batch = 1;
  };
  struct TenantQueues {
    std::map<NetworkId, Queues> networks;  // those with ready rows
    double weight = 1.0;
    double served = 0.0;  // virtual time: rows served / weight
    int slots = 0;
    double remaining_rows = 0.0;
    absl::Duration remaining_time;                        // of the device
    std::map<absl::Time, absl::Duration> deadline_times;  // of which with a deadline, by deadline
  };
  struct Ranked {
    Entry entry;
    TenantQueues* tenant = nullptr;
    bool has_slot = false;
    bool at_risk = false;
  };
  // One tenant's turn while a batch is put together.
  struct Turn;

  // When the sample must start, and go on without a pause, at the latest.
  static absl::Time LatestStart(const Entry& entry);
  static bool HasDeadline(const Entry& entry) { return entry.deadline != absl::InfiniteFuture(); }
  // The samples of the same tenant whose `rank_of` is below `own`, and the other tenants' part.
  template <typename Ranking>
  WorkAhead AheadOf(const Entry& entry, int samples, const Rank& own, Ranking rank_of) const;
  // What other tenants are due while this one is served `own_rows`.
  absl::Duration TimeOfOthers(const Entry& entry, double own_rows) const;
  // The work of a sample comes (1) or goes (-1).
  void Account(const Ranked& ranked, int sign);

  Rank RankOf(SampleId sample, const Ranked& ranked) const;
  TenantQueues& TenantOf(const Entry& entry);
  void Insert(SampleId sample, Ranked& ranked);
  void Erase(SampleId sample, Ranked& ranked);
  void Forget(SampleId sample);
  void RankThoseAtRisk(absl::Time now);

  const Options options_;
  const int num_slots_;
  std::unordered_map<SampleId, Ranked> samples_;
  std::map<std::string, TenantQueues> tenants_;  // those with samples, by name
  double virtual_time_ = 0.0;                    // of the tenant served last
  // Samples with a deadline that are not at risk yet, by when they must start at the latest.
  std::set<std::pair<absl::Time, SampleId>> latest_starts_;
  absl::Duration deadline_time_;  // of all tenants
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_
