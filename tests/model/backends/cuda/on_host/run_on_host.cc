#include <ucontext.h>

#include <memory>
#include <vector>

#include "tests/model/backends/cuda/on_host/cuda_runtime.h"

skipstream::cuda::Index threadIdx;
skipstream::cuda::Index blockIdx;
skipstream::cuda::Index blockDim;
skipstream::cuda::Index gridDim;

namespace skipstream::cuda {
namespace {

constexpr size_t kStackBytes = 64 * 1024;

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  bool done = false;
};

// One kernel at a time; executors queue from one thread.
struct Machine {
  std::vector<Fiber> fibers;
  ucontext_t scheduler{};
  Fiber* running = nullptr;
  const std::function<void()>* body = nullptr;
  std::vector<float> shared;
  Turns turns = Turns::kForward;
};
Machine& TheMachine() {
  static Machine machine;
  return machine;
}

void RunFiber() {
  Machine& machine = TheMachine();
  (*machine.body)();
  machine.running->done = true;
  swapcontext(&machine.running->context, &machine.scheduler);
}

unsigned Turn(unsigned i, unsigned count) {
  return TheMachine().turns == Turns::kForward ? i : count - 1 - i;
}

void RunBlock(unsigned threads) {
  Machine& machine = TheMachine();
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = machine.fibers[i];
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, RunFiber, 0);
  }
  for (unsigned left = threads; left > 0;) {
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned thread = Turn(i, threads);
      Fiber& fiber = machine.fibers[thread];
      if (fiber.done) continue;
      threadIdx.x = thread;
      machine.running = &fiber;
      swapcontext(&machine.scheduler, &fiber.context);
      if (fiber.done) --left;
    }
  }
}

}  // namespace

void SetTurns(Turns turns) { TheMachine().turns = turns; }

float* SharedMemory() { return TheMachine().shared.data(); }

void RunOnHost(dim3 grid, unsigned threads, size_t shared_bytes,
               const std::function<void()>& body) {
  Machine& machine = TheMachine();
  while (machine.fibers.size() < threads) machine.fibers.emplace_back();
  machine.body = &body;
  machine.shared.assign(shared_bytes / sizeof(float), std::nanf(""));
  blockDim.x = threads;
  gridDim = {grid.x, grid.y};
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      blockIdx = {Turn(x, grid.x), Turn(y, grid.y)};
      RunBlock(threads);
    }
  }
}

}  // namespace skipstream::cuda

void __syncthreads() {
  skipstream::cuda::Machine& machine = skipstream::cuda::TheMachine();
  skipstream::cuda::Fiber* const self = machine.running;
  swapcontext(&self->context, &machine.scheduler);
}
