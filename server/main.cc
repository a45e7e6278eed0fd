// skipstream-server: the only place that knows everything. Flags -> Options -> objects, then drain
// and stop.
#include <grpc/support/log.h>
#include <pthread.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "model/cuda/executor_on.h"
#include "model/network_form.h"
#include "model/torch/torch_executor.h"
#include "prometheus/exposer.h"
#include "prometheus/registry.h"
#include "server/engine/admission.h"
#include "server/engine/clock.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/engine/scheduler.h"
#include "server/log/event_log.h"
#include "server/metrics/metrics.h"
#include "server/transport/log_limiter.h"
#include "server/transport/model_reference.h"
#include "server/transport/security.h"
#include "server/transport/server.h"
#include "server/warm_up.h"

namespace skipstream {
namespace {

constexpr char kModelFileEnding[] = ".safetensors";
constexpr int kMaxAutomaticSlots = 256;
// Of the server's bounds, for tenants that hold little.
constexpr double kReservedForOthers = 0.125;

struct Flags {
  std::string listen = "0.0.0.0:50051";
  std::string metrics_listen = "0.0.0.0:9464";
  std::vector<std::string> models = {"nouns32"};
  std::string model_dir;
  std::string device = "auto";
  int max_batch = 0;  // automatic
  int slots = 0;      // automatic
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  bool deterministic = false;
  Kernels kernels = Kernels::kAuto;
  std::optional<Precision> precision;
  double drain_timeout = 30;
  double warmup_budget = 5;
  Admission::Options admission = {.max_evaluations = 0};  // automatic
  RequestLimits limits;
  int encode_threads = 1;
  int64_t result_cache_mb = 64;
  double result_cache_seconds = 120;
  double write_timeout = 60;
  bool enable_model_control = false;
  bool no_reflection = false;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_client_ca;
  std::string auth_file;
  double reload_interval = 5;
  LogFormat log_format = LogFormat::kText;
  spdlog::level::level_enum log_level = spdlog::level::info;
};

struct HostAndPort {
  std::string host;
  int port = 0;
};

absl::StatusOr<HostAndPort> ParseAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  HostAndPort result;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &result.port) || result.port < 0 ||
      result.port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must be HOST:PORT with a port between 0 and 65535 (0 picks a free one), got '", address,
        "'"));
  }
  result.host = address.substr(0, colon);
  return result;
}

std::string CheckAddress(const std::string& address) {
  return std::string(ParseAddress(address).status().message());
}

// <prefix>/bin/skipstream-server finds <prefix>/share/skipstream/models, built or installed.
std::string DefaultModelDir() {
  const std::filesystem::path executable = std::filesystem::read_symlink("/proc/self/exe");
  return (executable.parent_path().parent_path() / "share/skipstream/models").string();
}

template <typename T>
std::vector<std::string> Keys(const std::map<std::string, T>& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

void DefineFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", std::string("skipstream-server ") + SKIPSTREAM_VERSION);
  app.footer(
      "Every flag can also be given in the environment: SKIPSTREAM_MAX_BATCH for --max_batch.");
  const auto option = [&app](const std::string& name, auto& value, const std::string& help) {
    return app.add_option("--" + name, value, help)
        ->envname("SKIPSTREAM_" + absl::AsciiStrToUpper(name))
        ->capture_default_str();
  };
  const auto flag = [&app](const std::string& name, bool& value, const std::string& help) {
    app.add_flag("--" + name, value, help)->envname("SKIPSTREAM_" + absl::AsciiStrToUpper(name));
  };
  const auto choice = [&app]<typename T>(const std::string& name, T& value, const std::string& help,
                                         const std::map<std::string, T>& choices,
                                         const std::string& default_word = "auto") {
    app.add_option_function<std::string>(
           "--" + name, [&value, choices](const std::string& key) { value = choices.at(key); },
           help)
        ->envname("SKIPSTREAM_" + absl::AsciiStrToUpper(name))
        ->check(CLI::IsMember(Keys(choices)))
        ->default_str(default_word);
  };
  const CLI::Validator address(CheckAddress, "HOST:PORT");

  option("listen", flags.listen, "Address of the gRPC server; port 0 picks a free one")
      ->check(address);
  option("metrics_listen", flags.metrics_listen, "Address of the Prometheus metrics")
      ->check(address);
  option(
      "model", flags.models,
      "Model to offer: a name in --model_dir or a .safetensors file; repeat for more, or separate "
      "them with commas; the first is the default of requests")
      ->delimiter(',');
  option("model_dir", flags.model_dir, "Directory of models that are named without a path");
  option("device", flags.device,
         "What evaluates networks: cpu, cuda (all GPUs), some of them (cuda:0,cuda:1; each is a "
         "replica), or auto (GPUs if this build and this machine have them)");
  option("max_batch", flags.max_batch,
         "Rows per network evaluation and device; 0: for each model as many as its warm-up finds "
         "worth while, up to 16 on a CPU and 64 on a GPU")
      ->check(CLI::Range(0, 4096));
  option("slots", flags.slots, "Images in flight per device; 0: what 1 GiB holds, up to 256")
      ->check(CLI::Range(0, 65536));
  option("threads", flags.threads, "Threads of evaluations")->check(CLI::Range(1, 1024));
  flag("deterministic", flags.deterministic,
       "Byte-identical images whatever the load, and float32 unless --precision says otherwise; "
       "with reference kernels every evaluation costs a full batch");
  choice("precision", flags.precision,
         "What networks multiply: float32, bfloat16 or auto (whichever this CPU is faster in)",
         {{"auto", std::nullopt},
          {"float32", Precision::kFloat32},
          {"bfloat16", Precision::kBFloat16}});
  choice(
      "kernels", flags.kernels,
      "What computes networks: auto (fused where CPU and network allow it), fused (needs AVX-512) "
      "or reference (LibTorch)",
      {{"auto", Kernels::kAuto}, {"fused", Kernels::kFused}, {"reference", Kernels::kReference}});
  option("drain_timeout", flags.drain_timeout,
         "Seconds that accepted requests may take to finish after SIGTERM")
      ->check(CLI::Range(0.0, 86400.0));
  option("warmup_budget", flags.warmup_budget, "Seconds for measuring the batch sizes at start")
      ->check(CLI::Range(0.0, 3600.0));
  option("max_requests", flags.admission.max_requests, "Requests accepted at a time")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}));
  option("max_evaluations", flags.admission.max_evaluations,
         "Rows (network evaluations, guided ones twice) that accepted requests may add up to; 0: "
         "what the default model's warm-up says takes five minutes, or the largest request")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000'000}));
  option("max_bytes", flags.admission.max_bytes,
         "Memory that accepted requests and their results may add up to")
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 50));
  option("max_count", flags.limits.max_count, "Images per request")->check(CLI::Range(1, 1024));
  // At least the NFE of a request that does not say; at most what a priority class outranks, with
  // two rows per guided evaluation.
  option("max_nfe", flags.limits.max_nfe, "Network evaluations per image")
      ->check(CLI::Range(19, Scheduler::Options().rows_per_priority_class / 2));
  option("max_scale", flags.limits.max_scale, "Enlargement of images")->check(CLI::Range(1, 64));
  option("encode_threads", flags.encode_threads, "Threads that encode images")
      ->check(CLI::Range(1, 256));
  option("result_cache_mb", flags.result_cache_mb,
         "MiB of finished results kept for requests that are sent again with their request_id; 0 "
         "keeps none")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20));
  option("result_cache_seconds", flags.result_cache_seconds,
         "Seconds that such a result is kept; 0 keeps none")
      ->check(CLI::Range(0.0, 86400.0));
  option("write_timeout", flags.write_timeout,
         "Seconds that a client may leave its results unread before its request is cancelled")
      ->check(CLI::Range(0.1, 86400.0));
  flag("enable_model_control", flags.enable_model_control,
       "Let clients load and unload models of --model_dir");
  flag("no_reflection", flags.no_reflection,
       "Turn gRPC server reflection off, as it is with --auth_file");
  option("tls_cert", flags.tls_cert,
         "PEM file of the server's certificate and those it rests on; with --tls_key connections "
         "are encrypted");
  option("tls_key", flags.tls_key, "PEM file of the private key of --tls_cert");
  option("tls_client_ca", flags.tls_client_ca,
         "PEM file of who signs clients' certificates; clients then need one");
  option("auth_file", flags.auth_file,
         "JSON file of the tokens (hashed) that may generate and control, with their tenants; "
         "calls then need one");
  option("reload_interval", flags.reload_interval,
         "Seconds between looks at the files above; what has changed is in force then")
      ->check(CLI::Range(0.01, 86400.0));
  choice("log_format", flags.log_format, "Form of the log: text, or json (an object a line)",
         {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}, "text");
  choice("log_level", flags.log_level, "Least level that is logged: debug, info, warn or error",
         {{"debug", spdlog::level::debug},
          {"info", spdlog::level::info},
          {"warn", spdlog::level::warn},
          {"error", spdlog::level::err}},
         "info");
}

struct ModelFile {
  std::string name;
  std::string path;
};

absl::StatusOr<ModelFile> FindModelFile(const std::string& name_or_file,
                                        const std::string& model_dir) {
  const bool is_file =
      absl::StrContains(name_or_file, "/") || absl::EndsWith(name_or_file, kModelFileEnding);
  const std::filesystem::path path =
      is_file ? std::filesystem::path(name_or_file)
              : std::filesystem::path(model_dir) / (name_or_file + kModelFileEnding);
  ModelFile file = {.name = is_file ? path.stem().string() : name_or_file, .path = path.string()};
  if (absl::Status valid = ValidateModelName(file.name); !valid.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--model ", name_or_file, ": the name of a model ", valid.message()));
  }
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(
        absl::StrCat("--model ", name_or_file, ": there is no file ", file.path));
  }
  return file;
}

absl::Status WarmUp(const Flags& flags, const ModelFile& file, StepExecutor& executor,
                    const LoadedModel& model);

absl::Status LoadModels(const Flags& flags, StepExecutor& executor, ModelRegistry& models) {
  for (const std::string& name_or_file : flags.models) {
    const absl::StatusOr<ModelFile> file = FindModelFile(name_or_file, flags.model_dir);
    if (!file.ok()) return file.status();
    absl::StatusOr<std::shared_ptr<const LoadedModel>> model =
        LoadedModel::Load(executor, file->name, file->path);
    if (!model.ok()) {
      return absl::Status(model.status().code(),
                          absl::StrCat("--model ", name_or_file, ": ", model.status().message()));
    }
    const NetworkInfo& info = (*model)->info();
    spdlog::info(
        "model {}: {} {}, {}x{}x{}, {} classes, {} skips, {} parameters, {} kernels in {}, "
        "sha256 {}",
        file->name, info.preconditioning, info.architecture, info.width, info.height, info.channels,
        info.num_classes, info.num_skips, info.parameter_count, Name(info.form.kernels),
        Name(info.form.precision), info.sha256);
    if (absl::Status warm = WarmUp(flags, *file, executor, **model); !warm.ok()) return warm;
    if (absl::Status added = models.Add(*std::move(model)); !added.ok()) return added;
  }
  return absl::OkStatus();
}

// Warms the model up and says how long its evaluations take.
absl::Status WarmUp(const Flags& flags, const ModelFile& file, StepExecutor& executor,
                    const LoadedModel& model) {
  const ProfileCache cache(file.path, absl::StrCat(SKIPSTREAM_VERSION, " ", flags.device, " ",
                                                   flags.threads, DescribeProcessor()));
  const absl::StatusOr<WarmUpResult> warm =
      WarmUpModel(executor, model, absl::Seconds(flags.warmup_budget), cache);
  if (!warm.ok()) return warm.status();
  const std::string table =
      absl::StrJoin(warm->profile, ", ", [](std::string* out, const BucketTiming& bucket) {
        absl::StrAppend(out, bucket.rows, " -> ",
                        fmt::format("{:.2f}", absl::ToDoubleMilliseconds(bucket.duration)));
      });
  spdlog::info("model {}: evaluation time{}, rows -> ms: {}; up to {} rows at a time", file.name,
               warm->from_cache ? " (kept from an earlier start)" : "", table,
               flags.max_batch == 0 ? model.cost().Knee() : flags.max_batch);
  if (!warm->cached.ok()) {
    spdlog::info("the next start measures again: {}", std::string(warm->cached.message()));
  }
  return absl::OkStatus();
}

// Images in flight, by what their registers take.
int ChooseSlots(const Flags& flags, const ModelRegistry& models) {
  if (flags.slots != 0) return flags.slots;
  constexpr int64_t kMemory = int64_t{1} << 30;
  int64_t largest = 1;
  for (const auto& model : models.List()) {
    const NetworkInfo& info = model->info();
    const int64_t values = int64_t{info.channels} * info.height * info.width;
    // Registers, what is gathered, and the next state of three of them.
    largest = std::max(largest, (kNumRegisters + 1 + kNumUpdateRows) * values *
                                    static_cast<int64_t>(sizeof(double)));
  }
  return static_cast<int>(std::clamp<int64_t>(kMemory / largest, 4, kMaxAutomaticSlots));
}

int64_t ChooseMaxEvaluations(const Flags& flags, const ModelRegistry& models) {
  if (flags.admission.max_evaluations != 0) return flags.admission.max_evaluations;
  const std::shared_ptr<const LoadedModel> model = models.List().front();  // the default one
  const CostModel& cost = model->cost();
  constexpr absl::Duration kLongestQueue = absl::Minutes(5);
  constexpr int64_t kMany = 1'000'000;
  const absl::Duration time = cost.EstimateDuration(kMany, cost.Knee());
  const auto affordable = static_cast<int64_t>(kMany * absl::FDivDuration(kLongestQueue, time));
  // Two rows an evaluation: guidance.
  return std::max(affordable, int64_t{2} * flags.limits.max_count * flags.limits.max_nfe);
}

// SIGTERM and SIGINT, taken by a thread instead of a handler. Made before any other thread, so that
// all of them inherit the mask and no signal goes to a thread that does not expect it.
class Signals {
 public:
  Signals() : first_(promise_.get_future()) {
    sigemptyset(&set_);
    for (int signal : {SIGTERM, SIGINT, kStopThread}) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    thread_ = std::thread([this] { Run(); });
  }
  ~Signals() {
    stopping_ = true;
    pthread_kill(thread_.native_handle(), kStopThread);
    thread_.join();
  }

  // Blocks until the first signal and returns it. The second one ends the process.
  int WaitForFirst() { return first_.get(); }

 private:
  static constexpr int kStopThread = SIGUSR1;

  void Run() {
    bool seen = false;
    while (true) {
      int signal = 0;
      if (sigwait(&set_, &signal) != 0) continue;
      if (signal == kStopThread) {
        if (stopping_) return;
        continue;  // somebody else's
      }
      if (std::exchange(seen, true)) std::_Exit(128 + signal);
      promise_.set_value(signal);
    }
  }

  sigset_t set_;
  std::atomic<bool> stopping_ = false;
  std::promise<int> promise_;
  std::future<int> first_;
  std::thread thread_;
};

// gRPC's own messages, which anybody can cause (a failed handshake is one): in the form of the log,
// and no more of them than the limiter lets through. The function cannot be given anything but
// globals.
void LogForGrpc(gpr_log_func_args* message) {
  static LogLimiter limiter(/*max_lines=*/10, /*interval=*/absl::Seconds(10));
  const std::optional<int64_t> unwritten = limiter.Ask(absl::Now());
  if (!unwritten) return;
  // An error of gRPC's is a connection's, not the server's.
  const bool is_error = message->severity == GPR_LOG_SEVERITY_ERROR;
  spdlog::log(is_error ? spdlog::level::warn : spdlog::level::debug, "gRPC: {}{}", message->message,
              *unwritten == 0 ? "" : fmt::format(" ({} more not logged)", *unwritten));
}

EventLog StartLogging(const Flags& flags) {
  const auto sink = [] { return std::make_shared<spdlog::sinks::stderr_color_sink_mt>(); };
  spdlog::set_default_logger(MakeLogger(sink(), flags.log_format, flags.log_level));
  gpr_set_log_function(&LogForGrpc);
  // Events come from the engine's thread too, which must not wait for whoever reads the log.
  return EventLog(sink(), flags.log_format, flags.log_level, EventLog::Writing::kOnThreadOfOwn);
}

void Drain(Server& server, absl::Duration timeout) {
  server.BeginDrain();
  const int cut = server.WaitForCalls(timeout);
  if (cut > 0) {
    spdlog::warn("{} requests were not done after {} and are cut", cut,
                 absl::FormatDuration(timeout));
  }
}

absl::Status Serve(Flags flags, const EventLog& log, Signals& signals) {
  // Objects in the order of their lives: what comes later uses what comes before.
  const absl::StatusOr<std::unique_ptr<Security>> security =
      Security::Load({.tls_cert = flags.tls_cert,
                      .tls_key = flags.tls_key,
                      .tls_client_ca = flags.tls_client_ca,
                      .auth_file = flags.auth_file,
                      .reload_interval = absl::Seconds(flags.reload_interval)},
                     log);
  if (!security.ok()) return security.status();
  const auto registry = std::make_shared<prometheus::Registry>();
  ServerMetrics metrics(*registry, SKIPSTREAM_VERSION);
  const RealClock clock;
  absl::StatusOr<std::unique_ptr<StepExecutor>> executor = CreateExecutorOn(
      flags.device, {.max_batch = flags.max_batch,
                     .num_slots = flags.slots == 0 ? kMaxAutomaticSlots : flags.slots,
                     .threads = flags.threads,
                     .deterministic = flags.deterministic,
                     .kernels = flags.kernels,
                     .precision = flags.precision});
  if (!executor.ok()) {
    return absl::Status(executor.status().code(),
                        absl::StrCat("--device ", flags.device, ": ", executor.status().message()));
  }
  ModelRegistry models(&metrics.models);
  if (absl::Status status = LoadModels(flags, **executor, models); !status.ok()) return status;

  flags.admission.max_evaluations = ChooseMaxEvaluations(flags, models);
  Engine::Options engine_options = {.max_batch = flags.max_batch,
                                    .max_slots = ChooseSlots(flags, models)};
  if (!flags.auth_file.empty()) {  // there may be several tenants
    flags.admission.reserved_for_others = kReservedForOthers;
    engine_options.scheduler.reserved_slots =
        static_cast<int>(kReservedForOthers * engine_options.max_slots);
  }
  Admission admission(flags.admission);
  EngineThread engine(engine_options, **executor, clock, &metrics.engine);

  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start({.listen = flags.listen,
                     .version = SKIPSTREAM_VERSION,
                     .limits = flags.limits,
                     .encode_threads = flags.encode_threads,
                     .results = {.max_bytes = static_cast<size_t>(flags.result_cache_mb) << 20,
                                 .keep = absl::Seconds(flags.result_cache_seconds)},
                     .write_timeout = absl::Seconds(flags.write_timeout),
                     .enable_model_control = flags.enable_model_control,
                     .model_dir = flags.model_dir,
                     .reflection = !flags.no_reflection},
                    {.executor = **executor,
                     .engine = engine,
                     .models = models,
                     .admission = admission,
                     .clock = clock,
                     .metrics = metrics.transport,
                     .draw_seed = [] { return static_cast<uint32_t>(std::random_device()()); },
                     .authenticator = (*security)->authenticator(),
                     .log = log,
                     .tls = (*security)->tls()});
  if (!server.ok()) return server.status();

  std::unique_ptr<prometheus::Exposer> exposer;
  try {
    exposer = std::make_unique<prometheus::Exposer>(flags.metrics_listen, /*num_threads=*/1);
  } catch (const std::exception& exception) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", flags.metrics_listen,
                                               " for metrics: ", exception.what()));
  }
  exposer->RegisterCollectable(registry);

  std::cout << "listening on " << ParseAddress(flags.listen)->host << ":" << (*server)->port()
            << "\nmetrics on http://" << ParseAddress(flags.metrics_listen)->host << ":"
            << exposer->GetListeningPorts().at(0) << "/metrics" << std::endl;

  spdlog::info("{}: draining", strsignal(signals.WaitForFirst()));
  Drain(**server, absl::Seconds(flags.drain_timeout));
  spdlog::info("stopping");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  Signals signals;
  spdlog::set_default_logger(spdlog::stderr_color_mt("skipstream"));  // until the flags are known

  Flags flags;
  flags.model_dir = DefaultModelDir();
  CLI::App app("Generates images with skip-tuned diffusion models over gRPC.", "skipstream-server");
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  const EventLog log = StartLogging(flags);
  const absl::Status status = Serve(flags, log, signals);
  if (!status.ok()) {
    spdlog::error("{}", std::string(status.message()));
    return 1;
  }
  return 0;
}

// Starts this program again, under the same process id, with OpenMP threads that sleep between two
// operations instead of spinning for a while. LibTorch's runtime reads that from the environment
// when it is loaded, before main. On shared cores spinning threads hold up the ones that work; on
// cores of their own only very small networks lose (docs/performance.md). Whoever sets either
// variable decides.
void RestartWithSleepingThreads(char** argv) {
  constexpr char kWaitPolicy[] = "OMP_WAIT_POLICY";
  if (std::getenv(kWaitPolicy) != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (setenv(kWaitPolicy, "passive", /*overwrite=*/0) != 0) return;
  execv("/proc/self/exe", argv);  // returns only where it fails: then threads spin
}

}  // namespace
}  // namespace skipstream

int main(int argc, char** argv) {
  skipstream::RestartWithSleepingThreads(argv);
  try {
    return skipstream::Main(argc, argv);
  } catch (const std::exception& exception) {
    spdlog::critical("unexpected error: {}", exception.what());
    return 1;
  }
}
