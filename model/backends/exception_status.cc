#include "model/backends/exception_status.h"

#include <exception>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "c10/util/Exception.h"

namespace skipstream {

absl::Status StatusOfCurrentException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    // LibTorch has no exception type for running out of memory on a CPU.
    return absl::StrContains(message, "DefaultCPUAllocator") ? absl::ResourceExhaustedError(message)
                                                             : absl::InternalError(message);
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  } catch (...) {
    return absl::InternalError("unknown exception");
  }
}

}  // namespace skipstream
