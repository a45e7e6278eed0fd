#ifndef SKIPSTREAM_SERVER_RPC_WORKAROUNDS_CALLBACK_ORDER_H_
#define SKIPSTREAM_SERVER_RPC_WORKAROUNDS_CALLBACK_ORDER_H_

#ifdef SKIPSTREAM_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace skipstream {

// Declares gRPC's guarantees about the callbacks of one reactor to ThreadSanitizer: they come once
// the reactor has been handed over, OnDone after all others and after Finish. The sanitizer does
// not see the locks and atomics of a gRPC library that is not instrumented. gRPC guarantees no
// order among the other callbacks, and none is declared. Without the sanitizer it does nothing.
class CallbackOrder {
 public:
  // Must come last before gRPC gets the reactor.
  void HandOver() { Release(handed_over_); }

  // Must come last before the reactor calls gRPC's Finish.
  void Finish() { Release(ended_); }

  // Must live as long as a callback other than OnDone runs.
  class Callback {
   public:
    explicit Callback(CallbackOrder& order) : order_(order) { Acquire(order_.handed_over_); }
    ~Callback() { Release(order_.ended_); }
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;

   private:
    CallbackOrder& order_;
  };

  // Must come first in OnDone.
  void Done() {
    Acquire(handed_over_);
    Acquire(ended_);
  }

 private:
#ifdef SKIPSTREAM_THREAD_SANITIZER
  static void Acquire(char& edge) { __tsan_acquire(&edge); }
  static void Release(char& edge) { __tsan_release(&edge); }
#else
  static void Acquire(char& /*edge*/) {}
  static void Release(char& /*edge*/) {}
#endif

  // Only their addresses count.
  char handed_over_ = 0;
  char ended_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_RPC_WORKAROUNDS_CALLBACK_ORDER_H_
