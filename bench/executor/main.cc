// Evaluations of networks against batch size, in every form this machine has, as rows/s and as a
// share of the convolution peak measured in the same run.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ATen/Parallel.h"
#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "bench/executor/conv_peak.h"
#include "bench/executor/flops.h"
#include "bench/executor/random_model.h"
#include "bench/executor/worker.h"
#include "model/execution/network.h"
#include "model/files/safetensors.h"
#include "nlohmann/json.hpp"

namespace skipstream::bench {
namespace {

constexpr NetworkForm kForms[] = {{Kernels::kFused, Precision::kBFloat16},
                                  {Kernels::kFused, Precision::kFloat32},
                                  {Kernels::kReference, Precision::kFloat32}};

struct Flags {
  std::vector<std::string> models = {"nouns32", "cifar10", "imagenet64"};
  std::vector<int> rows = {1, 2, 4, 8, 16};
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  int repeats = 3;
  double min_seconds = 0.5;
  bool json = false;
  std::string worker;        // a form, "fused-bfloat16": answer with times instead
  std::string write_random;  // a file: write the first model there and end
};

std::string FormName(NetworkForm form) {
  return absl::StrCat(Name(form.kernels), "-", Name(form.precision));
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "skipstream_bench_executor: %s\n", message.c_str());
  std::exit(1);
}

// A file that is gone with the process's end.
class TemporaryModel {
 public:
  explicit TemporaryModel(const std::string& config)
      : path_(std::filesystem::temp_directory_path() /
              absl::StrCat("skipstream-bench-", getpid(), ".safetensors")) {
    if (absl::Status status = WriteRandomModel(config, path_); !status.ok()) {
      std::filesystem::remove(path_);
      Fail(std::string(status.message()));
    }
  }
  ~TemporaryModel() { std::filesystem::remove(path_); }
  TemporaryModel(const TemporaryModel&) = delete;
  TemporaryModel& operator=(const TemporaryModel&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Calls use(path) with the file of a model: a path, a published configuration, or the default
// model.
template <typename Use>
void WithModel(const std::string& model, const Use& use) {
  if (const std::string config = PublishedConfig(model); !config.empty()) {
    const TemporaryModel file(config);
    use(file.path());
    return;
  }
  if (model != "nouns32") return use(model);
  const auto executable = std::filesystem::read_symlink("/proc/self/exe");
  use((executable.parent_path().parent_path() / "share/skipstream/models/nouns32.safetensors")
          .string());
}

double FlopsOfFile(const std::string& path) {
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) Fail(std::string(file.status().message()));
  const absl::StatusOr<ModelDescription> model = ParseModelMetadata(file->metadata());
  if (!model.ok()) Fail(absl::StrCat(path, ": ", model.status().message()));
  return FlopsPerRow(*model);
}

// Shows the runs as usual and keeps the rows/s of each, for the line of JSON.
class KeepingReporter final : public ::benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Aggregate || run.error_occurred) continue;
      rates_[run.run_name.function_name].push_back(run.counters.at("rows/s"));
    }
    ConsoleReporter::ReportRuns(runs);
  }
  const std::map<std::string, std::vector<double>>& rates() const { return rates_; }

 private:
  std::map<std::string, std::vector<double>> rates_;
};

// "nouns32/fused-bfloat16/8".
std::string CaseName(const std::string& model, NetworkForm form, int rows) {
  return absl::StrCat(model, "/", FormName(form), "/", rows);
}

void Register(const Flags& flags, const std::string& model, NetworkForm form,
              const std::shared_ptr<const Network>& network, double flops, double peak) {
  for (const int rows : flags.rows) {
    ::benchmark::RegisterBenchmark(
        CaseName(model, form, rows).c_str(),
        [network, rows, flops, peak](::benchmark::State& state) {
          const Evaluation evaluation(*network, rows);
          evaluation.Run();  // takes memory and prepares
          for (auto iteration : state) state.SetIterationTime(evaluation.Run());
          using ::benchmark::Counter;
          const double done = static_cast<double>(state.iterations()) * rows;
          state.counters["rows/s"] = Counter(done, Counter::kIsRate);
          state.counters["FLOP/s"] = Counter(done * flops, Counter::kIsRate);
          state.counters["peak"] = Counter(done * flops / peak, Counter::kIsRate);
        })
        ->UseManualTime()
        ->Unit(::benchmark::kMillisecond)
        ->MinTime(flags.min_seconds)
        ->Repetitions(flags.repeats);
  }
}

int Measure(const Flags& flags) {
  at::set_num_threads(flags.threads);
  std::map<Precision, double> peaks;
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    peaks[precision] = ConvolutionPeak(precision, flags.threads);
    std::printf("convolution peak, %s, %d threads: %.0f GFLOP/s\n", Name(precision), flags.threads,
                peaks[precision] / 1e9);
  }
  KeepingReporter reporter;
  nlohmann::json result = {{"threads", flags.threads},
                           {"peak_gflops",
                            {{"float32", peaks[Precision::kFloat32] / 1e9},
                             {"bfloat16", peaks[Precision::kBFloat16] / 1e9}}}};
  for (const std::string& model : flags.models) {
    WithModel(model, [&](const std::string& path) {
      const double flops = FlopsOfFile(path);
      for (const NetworkForm form : kForms) {
        absl::StatusOr<std::unique_ptr<Network>> network = Network::Load(path, "", form);
        if (absl::IsUnimplemented(network.status())) {
          std::printf("%s: %s\n", FormName(form).c_str(), network.status().ToString().c_str());
          continue;
        }
        if (!network.ok()) Fail(std::string(network.status().message()));
        ::benchmark::ClearRegisteredBenchmarks();
        Register(flags, model, form, *std::move(network), flops, peaks[form.precision]);
        ::benchmark::RunSpecifiedBenchmarks(&reporter);
        for (const int rows : flags.rows) {
          const auto found = reporter.rates().find(CaseName(model, form, rows));
          if (found == reporter.rates().end()) continue;
          std::vector<double> rates = found->second;
          std::sort(rates.begin(), rates.end());
          const double median = rates[rates.size() / 2];
          result[model][FormName(form)][absl::StrCat(rows)] = {
              {"rows_per_second",
               {{"min", rates.front()}, {"median", median}, {"max", rates.back()}}},
              {"share_of_peak", median * flops / peaks[form.precision]}};
        }
      }
    });
  }
  ::benchmark::ClearRegisteredBenchmarks();
  if (flags.json) std::printf("%s\n", result.dump().c_str());
  return 0;
}

int Work(const Flags& flags) {
  at::set_num_threads(flags.threads);
  WithModel(flags.models.front(), [&](const std::string& path) {
    for (const NetworkForm form : kForms) {
      if (FormName(form) != flags.worker) continue;
      const absl::StatusOr<std::unique_ptr<Network>> network = Network::Load(path, "", form);
      if (!network.ok()) Fail(std::string(network.status().message()));
      return AnswerWithTimes(**network);
    }
    Fail(absl::StrCat("there is no form ", flags.worker));
  });
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Measures evaluations of networks.");
  Flags flags;
  app.add_option("--model", flags.models, "nouns32, cifar10, imagenet64 (random) or model files")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--rows", flags.rows, "Rows per evaluation")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--repeats", flags.repeats, "Measurements of each kind")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--min_seconds", flags.min_seconds, "Seconds of one measurement")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  app.add_flag("--json", flags.json, "End with one line of JSON");
  app.add_option(
      "--worker", flags.worker,
      "Answer numbers of rows on standard input with the seconds of an evaluation in this "
      "form: fused-bfloat16, fused-float32 or reference-float32");
  app.add_option("--write_random", flags.write_random,
                 "Write the random model of the first --model to this file, and end");
  CLI11_PARSE(app, argc, argv);
  if (!flags.write_random.empty()) {
    const std::string config = PublishedConfig(flags.models.front());
    if (config.empty()) Fail("only cifar10 and imagenet64 have random models");
    const absl::Status status = WriteRandomModel(config, flags.write_random);
    if (!status.ok()) Fail(std::string(status.message()));
    return 0;
  }
  return flags.worker.empty() ? Measure(flags) : Work(flags);
}

}  // namespace
}  // namespace skipstream::bench

int main(int argc, char** argv) {
  try {
    return skipstream::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "skipstream_bench_executor: %s\n", error.what());
    return 1;
  }
}
