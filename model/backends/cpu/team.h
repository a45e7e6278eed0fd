// Shares one piece of work after another among threads.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_TEAM_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_TEAM_H_

#include <atomic>
#include <cstdint>

namespace skipstream::cpu {

// Lets `members` threads wait for each other, repeatedly. A thread waits spinning at first, then
// asleep: threads may outnumber free cores.
class alignas(64) Barrier {  // alone in its cache line
 public:
  // Must be called before a thread waits.
  void Reset(int members) { members_ = members; }
  void Wait();

 private:
  int members_ = 1;
  std::atomic<int> arrived_ = 0;
  std::atomic<uint32_t> round_ = 0;
};

// Represents one thread in its team. A Team without others does everything itself.
class Team {
 public:
  Team() = default;
  // `barrier` belongs to the team and has `members` members.
  Team(int member, int members, Barrier& barrier)
      : member_(member), members_(members), barrier_(&barrier) {}

  // Calls part(begin, end) with this member's share of the units 0 .. n - 1.
  template <typename Part>
  void Share(int64_t n, const Part& part) const {
    const int64_t begin = n * member_ / members_;
    const int64_t end = n * (member_ + 1) / members_;
    if (begin < end) part(begin, end);
  }

  bool leads() const { return member_ == 0; }

  // Returns once every member has called it: what they did before is then visible to all.
  void Wait() const {
    if (barrier_ != nullptr) barrier_->Wait();
  }

 private:
  int member_ = 0;
  int members_ = 1;
  Barrier* barrier_ = nullptr;
};

}  // namespace skipstream::cpu

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_TEAM_H_
