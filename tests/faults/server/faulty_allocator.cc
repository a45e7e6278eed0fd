#include "tests/faults/server/faulty_allocator.h"

#include <atomic>
#include <new>
#include <stdexcept>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"
#include "c10/util/Exception.h"

namespace skipstream {
namespace {

std::atomic<int>& Remaining() {
  static std::atomic<int> remaining = 0;
  return remaining;
}

std::atomic<AllocationFault>& Kind() {
  static std::atomic<AllocationFault> kind = AllocationFault::kBadAlloc;
  return kind;
}

class FaultyAllocator final : public c10::Allocator {
 public:
  explicit FaultyAllocator(c10::Allocator* inner) : inner_(inner) {}

  c10::DataPtr allocate(size_t bytes) override {
    if (Take()) Throw();
    return inner_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    inner_->copy_data(to, from, bytes);
  }

 private:
  static bool Take() {
    int remaining = Remaining();
    while (remaining > 0 && !Remaining().compare_exchange_weak(remaining, remaining - 1)) {
    }
    return remaining > 0;
  }

  [[noreturn]] static void Throw() {
    switch (Kind().load()) {
      case AllocationFault::kBadAlloc:
        throw std::bad_alloc();
      case AllocationFault::kTorchOom:
        TORCH_CHECK_WITH(OutOfMemoryError, false, "injected: out of memory");
      case AllocationFault::kOther:
        break;
    }
    throw std::runtime_error("injected: an exception");
  }

  c10::Allocator* const inner_;
};

}  // namespace

void InstallFaultyAllocator() {
  // Never destroyed: tensors may be freed after everything else.
  static auto* const allocator = new FaultyAllocator(c10::GetCPUAllocator());
  c10::SetCPUAllocator(allocator, /*priority=*/1);
}

void FailAllocations(int count, AllocationFault fault) {
  Kind() = fault;
  Remaining() = count;
}

}  // namespace skipstream
