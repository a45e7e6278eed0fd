// The same images through a whole server and through the plain executor loop, in turns.
#ifndef SKIPSTREAM_BENCH_OVERHEAD_OVERHEAD_BENCH_H_
#define SKIPSTREAM_BENCH_OVERHEAD_OVERHEAD_BENCH_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/overhead/loopback_server.h"
#include "bench/overhead/plain_loop.h"
#include "model/diffusion/solver_step.h"
#include "model/executor.h"

namespace skipstream::bench {

// Seconds, one value per repeat.
struct Timings {
  std::vector<double> loop;          // plain loop, until all pixels are there
  std::vector<double> loop_and_png;  // plain loop, until all PNG files are there
  std::vector<double> server;        // until every call has ended, all PNG files with the client
  std::vector<double> first_image;   // until the first call to do so had its PNG file
};

// Two executors with the same options, one of them inside the server; never busy at once. One
// thread.
class OverheadBench {
 public:
  struct Options {
    std::string model;  // file
    int nfe = 9;        // of Heun's method
    int threads = 0;    // of either executor; 0: all cores
    int max_samples = 16;
  };
  static absl::StatusOr<std::unique_ptr<OverheadBench>> Create(const Options& options);

  // Fails unless both ways make the same images: else the comparison would mean nothing.
  absl::Status CheckSameImages();

  // Makes `samples` images (1 to max_samples) both ways, `repeats` times in turns, after one turn
  // that does not count. The server gets one call per image, all at once.
  absl::StatusOr<Timings> Measure(int samples, int repeats);

 private:
  explicit OverheadBench(const Options& options) : options_(options) {}
  absl::Status Start();
  absl::StatusOr<std::vector<Image>> GenerateInLoop(int samples);
  absl::StatusOr<std::vector<LoopbackServer::Reply>> GenerateOnServer(
      int samples, LoopbackServer::Format format);
  absl::Status TimeLoop(int samples, Timings& timings);
  absl::Status TimeServer(int samples, Timings& timings);

  const Options options_;
  std::shared_ptr<const SamplingPlan> plan_;
  std::vector<PlainLoop::Sample> samples_;  // max_samples of them
  // A listener outlives its executor, and the server what it runs on.
  std::unique_ptr<PlainLoop> loop_;
  std::unique_ptr<Executor> loop_executor_;
  NetworkId loop_network_ = 0;
  std::unique_ptr<Executor> server_executor_;
  std::unique_ptr<LoopbackServer> server_;
};

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_OVERHEAD_OVERHEAD_BENCH_H_
