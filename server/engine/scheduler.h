// Decides which samples contribute a row to the next batch. Pure bookkeeping: no executor, and time
// only as an argument.
//
// Between tenants: every row served to a tenant moves its virtual time forward by 1 / weight, and
// the tenant whose virtual time is lowest has the next row. This is weighted deficit round robin
// with a quantum of one row, the unit of cost. A tenant that comes back after an idle time starts
// where the others are, so idling saves up nothing. Whatever one tenant asks for, the others keep
// their shares.
//
// Within a tenant every sample has a rank, and the lowest goes first:
//   1. samples at risk: those that might miss their deadline if everything that has one went before
//      them; earliest deadline first
//   2. the others by a virtual due time:
//        due = accepted + ageing_per_row * (remaining rows + rows_per_priority_class * classes
//        below high)
// So among samples accepted together the higher priority class goes first, and inside a class the
// one with the least remaining work. Waiting counts: a sample that has waited one ageing_per_row
// longer ranks like one that needs one row less. Nothing starves: a sample accepted later than
// `due` ranks behind. Ties go to the sample that was added first.
//
// A batch serves one network: that of the best row of the tenant whose turn it is. Nothing else
// about rows has to match. A sample contributes the rows that are ready together (the terms of a
// guided evaluation), or those of them that there is room for.
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

// Orders samples and picks batches. Single-threaded. Choosing a batch of B rows costs O(B * tenants
// + tenants * networks), keeping the order of N samples O(B log N).
class Scheduler {
 public:
  struct Options {
    // Time that a sample has to wait to rank like one that needs one row less. Smaller: closer to
    // first come, first served. Larger: closer to least remaining work first.
    absl::Duration ageing_per_row = absl::Milliseconds(50);
    // Rows that one priority class is worth. At least the rows of the longest plan (two per
    // evaluation where it is guided), so that class comes first among samples accepted together.
    // Times ageing_per_row it is the delay with which a sample of the next class may arrive and
    // still overtake.
    int rows_per_priority_class = 4096;
    // Number of free slots that go only to tenants that hold less than an equal share of the slots,
    // counted with one tenant more than there are. So a new tenant finds a slot.
    int reserved_slots = 0;
  };

  // Holds the rows that a sample can contribute to one batch.
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
    // Upper bound of the time of a row, when its sample never pauses.
    absl::Duration time_per_row = absl::ZeroDuration();
    // Device time of a row in full batches.
    absl::Duration device_time_per_row = absl::ZeroDuration();
  };
  // Holds a sample's part of a batch.
  struct Share {
    SampleId sample = 0;
    int rows = 0;

    friend bool operator==(const Share&, const Share&) = default;
  };
  // Holds the work that is served before a sample, as far as is known now.
  struct WorkAhead {
    // Remaining rows of the same tenant's samples of the same network that go before it, in their
    // order.
    std::vector<int> samples;
    // Device time of those of other networks, and of other tenants' rows that are due meanwhile.
    absl::Duration other_time = absl::ZeroDuration();
  };

  static constexpr size_t kMaxExactSamples = 512;

  // `num_slots` is the executor's.
  Scheduler(const Options& options, int num_slots) : options_(options), num_slots_(num_slots) {}

  // Adds a sample that has no slot yet and at least one remaining row.
  void Add(SampleId sample, const Entry& entry);

  // Forgets the sample; unknown ones are ignored.
  void Remove(SampleId sample);

  // Changes the sample's deadline; unknown ones are ignored.
  void SetDeadline(SampleId sample, absl::Time deadline);

  // Returns the next batch, best first. All its rows are of one network, at most as many as a batch
  // of it holds; at most `free_slots` of their samples have no slot. Empty if nothing can run.
  std::vector<Share> Pick(absl::Time now, int free_slots);

  // Records that the sample got a slot if it had none, and that `rows` of its ready rows were
  // submitted; `next` are those that are ready now. After its last row it is forgotten and its slot
  // is free.
  void RowsSubmitted(SampleId sample, int rows, const Ready& next);

  // Return the work ahead of `samples` samples like `entry`, if they were added now. It is the
  // samples that rank before them, or the work due before their deadline. Samples without a
  // deadline or with a later one give way to those at risk. O(N log N) up to kMaxExactSamples; with
  // more, AheadByRank returns everything of the tenant.
  WorkAhead AheadByRank(const Entry& entry, int samples = 1) const;
  WorkAhead AheadByDeadline(const Entry& entry, int samples = 1) const;

 private:
  // Orders by: at risk or not, deadline or due time, arrival.
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
    absl::Duration remaining_time;                        // device time of the remaining rows
    std::map<absl::Time, absl::Duration> deadline_times;  // part of it with a deadline, by deadline
  };
  struct Ranked {
    Entry entry;
    TenantQueues* tenant = nullptr;
    bool has_slot = false;
    bool at_risk = false;
  };
  // Holds one tenant's turn while a batch is put together.
  struct Turn;

  // Returns the latest time at which the sample must start, and go on without a pause.
  static absl::Time LatestStart(const Entry& entry);
  static bool HasDeadline(const Entry& entry) { return entry.deadline != absl::InfiniteFuture(); }
  // Returns the samples of the same tenant whose `rank_of` is below `own`, and the other tenants'
  // part.
  template <typename Ranking>
  WorkAhead AheadOf(const Entry& entry, int samples, const Rank& own, Ranking rank_of) const;
  // Returns the device time that other tenants are due while this one is served `own_rows`.
  absl::Duration TimeOfOthers(const Entry& entry, double own_rows) const;
  // Adds (1) or subtracts (-1) the work of a sample.
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
  // Samples with a deadline that are not at risk yet, by their latest start.
  std::set<std::pair<absl::Time, SampleId>> latest_starts_;
  absl::Duration deadline_time_;  // of all tenants' samples with a deadline
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_
