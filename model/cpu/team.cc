#include "model/cpu/team.h"

namespace skipstream::cpu {
namespace {

constexpr int kSpins = 4000;  // some tens of microseconds

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
