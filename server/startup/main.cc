// skipstream-server: the only place that knows everything. Flags -> Options -> objects, then drain
// and stop.
#include <grpc/support/log.h>
#include <pthread.h>
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
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log_limiter.h"
#include "base/process_setup.h"
#include "model/execution/create_executor.h"
#include "model/execution/executor_options.h"
#include "model/network_form.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "server/engine/admission.h"
#include "server/engine/engine_thread.h"
#include "server/engine/model_registry.h"
#include "server/log/event_log.h"
#include "server/log/log_output.h"
#include "server/metrics/http_server.h"
#include "server/metrics/metrics.h"
#include "server/net/listening_sockets.h"
#include "server/request/model_reference.h"
#include "server/rpc/server.h"
#include "server/rpc/workarounds/listener.h"
#include "server/security/security.h"
#include "server/startup/flags.h"
#include "server/startup/host_limits.h"
#include "server/startup/warm_up.h"

namespace skipstream {
namespace {

constexpr char kModelFileEnding[] = ".safetensors";
constexpr int kMaxAutomaticSlots = 256;
// Share of the server's bounds that is reserved for tenants that hold little.
constexpr double kReservedForOthers = 0.125;

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

absl::Status WarmUp(const Flags& flags, const HostLimits& limits, const ModelFile& file,
                    Executor& executor, const LoadedModel& model);

absl::Status LoadModels(const Flags& flags, const HostLimits& limits, Executor& executor,
                        ModelRegistry& models) {
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
    if (absl::Status warm = WarmUp(flags, limits, *file, executor, **model); !warm.ok())
      return warm;
    if (absl::Status added = models.Add(*std::move(model)); !added.ok()) return added;
  }
  return absl::OkStatus();
}

// Warms the model up and says how long its evaluations take.
absl::Status WarmUp(const Flags& flags, const HostLimits& limits, const ModelFile& file,
                    Executor& executor, const LoadedModel& model) {
  const ProfileCache cache(
      file.path, absl::StrCat(SKIPSTREAM_VERSION, " ", flags.device, " ", flags.threads, " of ",
                              limits.processors, flags.deterministic ? " deterministic" : "",
                              DescribeProcessor()));
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
int ChooseSlots(const Flags& flags, const HostLimits& limits, const ModelRegistry& models,
                const Executor& executor) {
  if (flags.slots != 0) return executor.num_slots();
  const int64_t memory = SlotBytes(limits);
  int64_t largest = 1;
  for (const auto& model : models.List()) {
    const NetworkInfo& info = model->info();
    const int64_t values = int64_t{info.channels} * info.height * info.width;
    // Registers, what is gathered, and the next state of three of them.
    largest = std::max(largest, (kNumRegisters + 1 + kNumUpdateRows) * values *
                                    static_cast<int64_t>(sizeof(double)));
  }
  const int devices = executor.num_slots() / kMaxAutomaticSlots;
  return devices * static_cast<int>(std::clamp<int64_t>(memory / largest, 4, kMaxAutomaticSlots));
}

// Memory of this process, models included. 0 without /proc.
int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return file ? resident * sysconf(_SC_PAGESIZE) : 0;
}

// Chooses what follows from the memory and says so.
void ChooseMemory(const HostLimits& limits, Flags& flags) {
  if (flags.admission.max_bytes == 0) {
    flags.admission.max_bytes = RequestBytes(limits, ResidentBytes());
  }
  const auto mebibytes = [](int64_t bytes) { return bytes >> 20; };
  spdlog::info(
      "memory {} MiB ({}), processors {} ({}): {} threads, {} MiB for requests and results, {} MiB "
      "for kept results, {} MiB for what arrives and leaves",
      mebibytes(limits.memory_bytes), limits.memory_source, limits.processors,
      limits.processors_source, flags.threads, mebibytes(flags.admission.max_bytes),
      flags.result_cache_mb, mebibytes(TransportBytes(limits)));
}

int64_t ChooseMaxEvaluations(const Flags& flags, const ModelRegistry& models) {
  if (flags.admission.max_evaluations != 0) return flags.admission.max_evaluations;
  const std::shared_ptr<const LoadedModel> model = models.List().front();  // the default one
  const CostModel& cost = model->cost();
  constexpr absl::Duration kLongestQueue = absl::Minutes(5);
  constexpr int64_t kMany = 1'000'000;
  const absl::Duration time = cost.EstimateDuration(kMany, cost.Knee());
  const auto affordable = static_cast<int64_t>(kMany * absl::FDivDuration(kLongestQueue, time));
  // Two rows an evaluation: guidance. With tenants a part of the bound is not for everybody.
  const int64_t largest = int64_t{2} * flags.limits.max_count * flags.limits.max_nfe;
  const double open = flags.auth_file.empty() ? 1.0 : 1.0 - kReservedForOthers;
  return std::max(affordable, static_cast<int64_t>(static_cast<double>(largest) / open) + 1);
}

// Takes SIGTERM, SIGINT and SIGHUP on a thread instead of in a handler. Made before any other
// thread but the log's, which takes none: all of them inherit the mask, and no signal goes to a
// thread that does not expect it.
class Signals {
 public:
  Signals() : first_(promise_.get_future()) {
    sigemptyset(&set_);
    for (int signal : {SIGTERM, SIGINT, SIGHUP, kStopThread}) sigaddset(&set_, signal);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    thread_ = std::thread([this] { Run(); });
  }
  ~Signals() {
    stopping_ = true;
    pthread_kill(thread_.native_handle(), kStopThread);
    thread_.join();
  }

  // Blocks until the first SIGTERM or SIGINT and returns it. The second one ends the process.
  int WaitForFirst() { return first_.get(); }

  // Calls `reload` at each SIGHUP from now on, on the signals' thread; null: such a signal does
  // nothing.
  void SetReload(std::function<void()> reload) {
    const std::lock_guard lock(mutex_);
    reload_ = std::move(reload);
  }

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
      if (signal == SIGHUP) {
        const std::lock_guard lock(mutex_);
        if (reload_) reload_();
        continue;
      }
      if (std::exchange(seen, true)) std::_Exit(128 + signal);
      promise_.set_value(signal);
    }
  }

  sigset_t set_;
  std::atomic<bool> stopping_ = false;
  std::promise<int> promise_;
  std::future<int> first_;
  std::mutex mutex_;
  std::function<void()> reload_;  // under mutex_
  std::thread thread_;
};

// gRPC's own messages, which anybody can cause (a failed handshake is one): in the form of the log,
// and no more of them than the limiter lets through. The function cannot be given anything but
// globals.
void LogForGrpc(gpr_log_func_args* message) {
  static LogLimiter limiter(/*max_lines=*/10, /*interval=*/absl::Seconds(10));
  const std::optional<int64_t> unwritten = limiter.Ask(RealClock().Now());
  if (!unwritten) return;
  // An error of gRPC's is a connection's, not the server's.
  const bool is_error = message->severity == GPR_LOG_SEVERITY_ERROR;
  spdlog::log(is_error ? spdlog::level::warn : spdlog::level::debug, "gRPC: {}{}", message->message,
              *unwritten == 0 ? "" : fmt::format(" ({} more not logged)", *unwritten));
}

EventLog StartLogging(const Flags& flags, LogOutput& output) {
  output.SetFormat(flags.log_format);
  spdlog::set_default_logger(MakeLogger(output.NewSink(), flags.log_format, flags.log_level));
  gpr_set_log_function(&LogForGrpc);
  return EventLog(output.NewSink(), flags.log_format, flags.log_level);
}

void Drain(Server& server, absl::Duration timeout) {
  server.BeginDrain();
  const int cut = server.WaitForCalls(timeout);
  if (cut > 0) {
    spdlog::warn("{} requests were not done after {} and are cut", cut,
                 absl::FormatDuration(timeout));
  }
}

absl::StatusOr<ListeningSockets> BindFlag(const std::string& flag, const std::string& address) {
  absl::StatusOr<ListeningSockets> sockets = ListeningSockets::Bind(address);
  if (sockets.ok()) return sockets;
  return absl::Status(sockets.status().code(),
                      absl::StrCat(flag, ": ", sockets.status().message()));
}

absl::Status Serve(Flags flags, const HostLimits& limits, LogOutput& log_output,
                   const EventLog& log, Signals& signals) {
  // Objects in the order of their lives: what comes later uses what comes before.
  // Ports first: an address that cannot be had is reported before models are loaded.
  absl::StatusOr<ListeningSockets> listen = BindFlag("--listen", flags.listen);
  if (!listen.ok()) return listen.status();
  absl::StatusOr<ListeningSockets> metrics_listen =
      BindFlag("--metrics_listen", flags.metrics_listen);
  if (!metrics_listen.ok()) return metrics_listen.status();
  const std::string addresses =
      absl::StrCat("listening on ", listen->address().ToString(), "\nmetrics on http://",
                   metrics_listen->address().ToString(), "/metrics\n");
  const absl::StatusOr<std::unique_ptr<Security>> security =
      Security::Load({.tls_cert = flags.tls_cert,
                      .tls_key = flags.tls_key,
                      .tls_client_ca = flags.tls_client_ca,
                      .auth_file = flags.auth_file,
                      .reload_interval = absl::Seconds(flags.reload_interval)},
                     log);
  if (!security.ok()) return security.status();
  signals.SetReload([&security = **security] { security.ReloadSoon(); });
  const absl::Cleanup forget_security = [&signals] { signals.SetReload(nullptr); };
  prometheus::Registry registry;
  ServerMetrics metrics(registry);
  log_output.SetOnDrop([&metrics] { metrics.log_lines_dropped.Increment(); });
  const absl::Cleanup forget_metrics = [&log_output] { log_output.SetOnDrop(nullptr); };
  absl::StatusOr<std::unique_ptr<MetricsHttpServer>> metrics_server = MetricsHttpServer::Start(
      *std::move(metrics_listen),
      [&registry] { return prometheus::TextSerializer().Serialize(registry.Collect()); }, {});
  if (!metrics_server.ok()) return metrics_server.status();
  const RealClock clock;
  absl::StatusOr<std::unique_ptr<Executor>> executor = CreateExecutor(
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
  const PrecisionChoice precision = (*executor)->precision();
  metrics.SetBuildInfo(SKIPSTREAM_VERSION, Name(precision.precision));
  spdlog::info("precision {}: {}", Name(precision.precision), precision.reason);
  ModelRegistry models(&metrics.models);
  if (absl::Status status = LoadModels(flags, limits, **executor, models); !status.ok()) {
    return status;
  }

  ChooseMemory(limits, flags);
  flags.admission.max_evaluations = ChooseMaxEvaluations(flags, models);
  Engine::Options engine_options = {
      .max_batch = flags.max_batch == 0 ? 0 : (*executor)->max_batch(),
      .max_slots = ChooseSlots(flags, limits, models, **executor)};
  if (!flags.auth_file.empty()) {  // there may be several tenants
    flags.admission.reserved_for_others = kReservedForOthers;
    engine_options.scheduler.reserved_slots =
        static_cast<int>(kReservedForOthers * engine_options.max_slots);
  }
  Admission admission(flags.admission);
  EngineThread engine(engine_options, **executor, clock, &metrics.engine);

  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start({.version = SKIPSTREAM_VERSION,
                     .limits = flags.limits,
                     .max_connections = MaxConnections(limits, !flags.tls_cert.empty()),
                     .encode_threads = flags.encode_threads,
                     .max_transport_bytes = static_cast<size_t>(TransportBytes(limits)),
                     .results = {.max_bytes = static_cast<size_t>(flags.result_cache_mb) << 20,
                                 .keep = absl::Seconds(flags.result_cache_seconds)},
                     .write_timeout = absl::Seconds(flags.write_timeout),
                     .enable_model_control = flags.enable_model_control,
                     .model_dir = flags.model_dir,
                     .reflection = !flags.no_reflection},
                    *std::move(listen),
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

  // Written on a separate thread: the program that started the server may not read it.
  LineWriter standard_output(STDOUT_FILENO);
  standard_output.Write(addresses);

  spdlog::info("{}: draining", strsignal(signals.WaitForFirst()));
  Drain(**server, absl::Seconds(flags.drain_timeout));
  spdlog::info("stopping");
  return absl::OkStatus();
}

int Main(int argc, char** argv, LogOutput& log_output) {
  std::signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();
  Signals signals;

  const HostLimits limits = FindHostLimits(AffinityOfThisProcess());
  Flags flags;
  SetHostDefaults(limits, flags);
  CLI::App app("Generates images with skip-tuned diffusion models over gRPC.", "skipstream-server");
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  const EventLog log = StartLogging(flags, log_output);
  const absl::Status status = Serve(flags, limits, log_output, log, signals);
  if (!status.ok()) {
    spdlog::error("{}", std::string(status.message()));
    return 1;
  }
  return 0;
}

int MainWithLog(int argc, char** argv, LogOutput& log_output) {
  try {
    return Main(argc, argv, log_output);
  } catch (const std::exception& exception) {
    spdlog::critical("unexpected error: {}", exception.what());
    return 1;
  }
}

// Lets SIGHUP wait for the signals' thread, also over the exec below.
void KeepHangups() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

// Starts this program again, under the same process id, with OpenMP threads that sleep between two
// operations instead of spinning for a while. LibTorch's runtime reads that from the environment
// when it is loaded, before main. On shared cores spinning threads hold up the ones that work; on
// dedicated cores only very small networks lose (docs/performance.md). A user who sets either
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
  skipstream::PrepareProcess(argv);
  skipstream::KeepHangups();
  skipstream::RestartWithSleepingThreads(argv);
  try {
    skipstream::LogOutput log_output;
    // Until the flags are known.
    spdlog::set_default_logger(skipstream::MakeLogger(
        log_output.NewSink(), skipstream::LogFormat::kText, spdlog::level::info));
    return skipstream::MainWithLog(argc, argv, log_output);
  } catch (const std::exception& exception) {  // no thread for the log, for one
    fmt::print(stderr, "unexpected error: {}\n", exception.what());
    return 1;
  }
}
