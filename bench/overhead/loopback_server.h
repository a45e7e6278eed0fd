// A whole server in this process, asked over real gRPC on the loopback interface. Free of gRPC
// headers.
#ifndef SKIPSTREAM_BENCH_OVERHEAD_LOOPBACK_SERVER_H_
#define SKIPSTREAM_BENCH_OVERHEAD_LOOPBACK_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/executor.h"
#include "model/network_info.h"

namespace skipstream::bench {

// One thread.
class LoopbackServer {
 public:
  // Warms the executor up for `warm_up`, as the real server does; `executor` outlives this object.
  static absl::StatusOr<std::unique_ptr<LoopbackServer>> Start(Executor& executor,
                                                               const std::string& model_path,
                                                               absl::Duration warm_up);
  ~LoopbackServer();

  enum class Format { kPng, kRaw };
  struct Request {
    int nfe = 1;  // of Heun's method; everything else is left to the defaults
    uint32_t seed = 0;
    int class_index = 0;
    Format format = Format::kPng;
  };
  struct Reply {
    absl::Duration to_first_image;  // from the start of the call until the image was here
    std::string image;
  };
  // Sends all requests at once, each in a separate call, and waits until every call has ended.
  absl::StatusOr<std::vector<Reply>> Generate(const std::vector<Request>& requests);

 private:
  class Impl;
  explicit LoopbackServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_OVERHEAD_LOOPBACK_SERVER_H_
