// Decides which samples contribute a row to the next batch. Pure bookkeeping: no clock, no
// executor.
//
// Every sample has a virtual due time, and the earliest goes first:
//   due = accepted + ageing_per_row * (remaining rows + rows_per_priority_class * classes below
//   high)
// So among samples accepted together the higher priority class goes first, and inside a class the
// one with the least remaining work. Waiting counts: a sample that has waited one ageing_per_row
// longer ranks like one that needs one row less. Nothing starves: whatever is accepted later than
// `due` ranks behind. Ties go to the sample that was added first.
//
// A batch serves one network: that of the best ranked row. Nothing else about rows has to match. A
// sample contributes the rows that are ready together (the terms of a guided evaluation), or as
// many of them as there is room for.
#ifndef SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_
#define SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "model/step_executor.h"
#include "server/engine/generation_job.h"

namespace skipstream {

using SampleId = uint64_t;  // increasing in the order of arrival

// Single-threaded. Choosing a batch of B rows out of N samples costs O(networks + B), keeping the
// order O(B log N).
class Scheduler {
 public:
  struct Options {
    // How long a sample has to wait to rank like one that needs one row less. Smaller: closer to
    // first come, first served. Larger: closer to least remaining work first.
    absl::Duration ageing_per_row = absl::Milliseconds(50);
    // How many rows one priority class is worth. At least the rows of the longest plan (two per
    // evaluation where it is guided), so that
    // class comes first among samples accepted together; times ageing_per_row it is how much later
    // a sample of the next class may arrive and still overtake.
    int rows_per_priority_class = 4096;
  };

  // What a sample can contribute to one batch.
  struct Ready {
    NetworkId network = 0;
    int rows = 1;
  };
  struct Entry {
    Ready ready;
    Priority priority = Priority::kNormal;
    absl::Time accepted;
    int remaining_rows = 0;  // not yet submitted, the ready ones included
  };
  // A sample's part of a batch.
  struct Share {
    SampleId sample = 0;
    int rows = 0;

    friend bool operator==(const Share&, const Share&) = default;
  };

  explicit Scheduler(const Options& options) : options_(options) {}

  // A sample that has no slot yet and at least one remaining row.
  void Add(SampleId sample, const Entry& entry);

  // Forgets the sample; unknown ones are ignored.
  void Remove(SampleId sample);

  // The next batch, best first: at most `max_rows` rows, all of one network, of samples of which at
  // most `free_slots` have no slot. Empty if nothing can run.
  std::vector<Share> Pick(int max_rows, int free_slots) const;

  // The sample got a slot if it had none, and `rows` of its ready rows were submitted; `next` are
  // those that are ready now. After its last row it is forgotten.
  void RowsSubmitted(SampleId sample, int rows, const Ready& next);

 private:
  using Rank = std::pair<absl::Time, SampleId>;  // due, then arrival
  struct Queues {
    std::set<Rank> running;  // have a slot
    std::set<Rank> waiting;  // need one
  };
  struct Ranked {
    Entry entry;
    bool has_slot = false;
  };

  Rank RankOf(SampleId sample, const Entry& entry) const;
  void Insert(SampleId sample, const Ranked& ranked);
  void Erase(SampleId sample, const Ranked& ranked);

  const Options options_;
  std::unordered_map<SampleId, Ranked> samples_;
  std::map<NetworkId, Queues> networks_;  // those with ready rows
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_SCHEDULER_H_
