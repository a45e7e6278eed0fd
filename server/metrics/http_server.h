#ifndef SKIPSTREAM_SERVER_METRICS_HTTP_SERVER_H_
#define SKIPSTREAM_SERVER_METRICS_HTTP_SERVER_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/net/listening_sockets.h"

namespace skipstream {

// Serves GET and HEAD of /metrics over HTTP/1.0 and 1.1 until it is destroyed. One thread serves
// all connections without waiting for any peer, so that silent ones delay nobody.
class MetricsHttpServer {
 public:
  struct Options {
    // Past it, the connection that has been idle longest is closed for the new one.
    size_t max_connections = 32;  // of the descriptors that gRPC leaves for the rest
    // Time for a whole request, from the connection or the response before it, and time for the
    // peer to take the response.
    std::chrono::milliseconds timeout = std::chrono::seconds(5);
  };
  // Past it, request line and headers are refused.
  static constexpr size_t kMaxHeaderBytes = size_t{8} << 10;

  // `exposition` returns the metrics in Prometheus' text format; it is called on the server's
  // thread at each scrape. Unavailable if another program listens on the port meanwhile.
  static absl::StatusOr<std::unique_ptr<MetricsHttpServer>> Start(
      ListeningSockets sockets, std::function<std::string()> exposition, const Options& options);
  ~MetricsHttpServer();

 private:
  class Impl;
  explicit MetricsHttpServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_METRICS_HTTP_SERVER_H_
