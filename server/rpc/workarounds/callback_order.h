#ifndef SKIPSTREAM_SERVER_RPC_WORKAROUNDS_CALLBACK_ORDER_H_
#define SKIPSTREAM_SERVER_RPC_WORKAROUNDS_CALLBACK_ORDER_H_

#ifdef SKIPSTREAM_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace skipstream {

// What gRPC promises of the callbacks of one reactor, told to ThreadSanitizer: they come once the
// reactor has been handed over, OnDone after all others and after Finish. It cannot see that for
// itself, as the locks and atomics of a gRPC library that is not instrumented are hidden from it.
// Of the others among each other nothing is promised, and nothing told. Without the sanitizer it
// does nothing.
class CallbackOrder {
 public:
  // The last of what is done before gRPC has the reactor.
  void HandOver() { Release(handed_over_); }

  // The last of what is done before gRPC is told to finish.
  void Finish() { Release(ended_); }

  // As long as a callback other than OnDone runs.
  class Callback {
   public:
    explicit Callback(CallbackOrder& order) : order_(order) { Acquire(order_.handed_over_); }
    ~Callback() { Release(order_.ended_); }
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;

   private:
    CallbackOrder& order_;
  };

  // The first of what OnDone does.
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
