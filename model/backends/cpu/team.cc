#include "model/backends/cpu/team.h"

namespace skipstream::cpu {
namespace {

// A few microseconds, about what the members of a team differ by. Where they share a core, a member
// that spins holds up the one it waits for: 4000 made evaluations three times as long there.
constexpr int kSpins = 500;

}  // namespace

void Barrier::Wait() {
  const uint32_t round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == members_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    round_.notify_all();
    return;
  }
  for (int i = 0; i < kSpins; ++i) {
    if (round_.load(std::memory_order_acquire) != round) return;
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
  }
  round_.wait(round, std::memory_order_acquire);
}

}  // namespace skipstream::cpu
