#include "server/startup/flags.h"

#include <filesystem>
#include <map>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/engine/scheduler.h"
#include "server/net/address.h"

namespace skipstream {
namespace {

std::string CheckAddress(const std::string& address) {
  return std::string(ParseAddress(address).status().message());
}

// <prefix>/bin/skipstream-server finds <prefix>/share/skipstream/models, built or installed.
std::string DefaultModelDir() {
  std::error_code error;  // without /proc: the current folder
  const std::filesystem::path executable = std::filesystem::read_symlink("/proc/self/exe", error);
  return (executable.parent_path().parent_path() / "share/skipstream/models").string();
}

// CLI::Range lets NaN pass.
CLI::Validator Between(double least, double most) {
  return CLI::Validator(
      [=](const std::string& text) -> std::string {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return "";
        return absl::StrCat("must be a number from ", least, " to ", most, ", got ", text);
      },
      absl::StrCat("FLOAT in [", least, " - ", most, "]"));
}

template <typename T>
std::vector<std::string> Keys(const std::map<std::string, T>& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

}  // namespace

void SetHostDefaults(const HostLimits& limits, Flags& flags) {
  flags.threads = limits.processors;
  flags.result_cache_mb = ResultCacheBytes(limits) >> 20;
}

void DefineFlags(CLI::App& app, Flags& flags) {
  flags.model_dir = DefaultModelDir();
  app.set_version_flag("--version", std::string("skipstream-server ") + SKIPSTREAM_VERSION);
  app.footer(
      "Every flag can also be given in the environment: SKIPSTREAM_MAX_BATCH for --max_batch.");
  const auto option = [&app](const std::string& name, auto& value, const std::string& help) {
    return app.add_option("--" + name, value, help)
        ->envname("SKIPSTREAM_" + absl::AsciiStrToUpper(name))
        ->capture_default_str();
  };
  const auto number = [&option](const std::string& name, double& value, double least, double most,
                                const std::string& help) {
    option(name, value, help)->check(Between(least, most));
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
  option("slots", flags.slots,
         "Images in flight per device; 0: what an eighth of the memory holds (1 GiB at most), up "
         "to 256")
      ->check(CLI::Range(0, 65536));
  option("threads", flags.threads,
         "Threads of evaluations; the default is what the machine or its container may use")
      ->check(CLI::Range(1, 1024));
  flag("deterministic", flags.deterministic,
       "Byte-identical images whatever the load, and float32 unless --precision says otherwise; "
       "with reference kernels every evaluation costs a full batch");
  choice("precision", flags.precision,
         "What networks multiply: float32, bfloat16 or auto (bfloat16 with AMX, on AMD Zen 4 and 5 "
         "and on GPUs; else float32)",
         {{"auto", std::nullopt},
          {"float32", Precision::kFloat32},
          {"bfloat16", Precision::kBFloat16}});
  choice(
      "kernels", flags.kernels,
      "What computes networks: auto (fused where CPU and network allow it), fused (needs AVX-512) "
      "or reference (LibTorch)",
      {{"auto", Kernels::kAuto}, {"fused", Kernels::kFused}, {"reference", Kernels::kReference}});
  number("drain_timeout", flags.drain_timeout, 0.0, 86400.0,
         "Seconds that accepted requests may take to finish after SIGTERM");
  number("warmup_budget", flags.warmup_budget, 0.0, 3600.0,
         "Seconds for measuring the batch sizes at start");
  option("max_requests", flags.admission.max_requests, "Requests accepted at a time")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}));
  option("max_evaluations", flags.admission.max_evaluations,
         "Rows (network evaluations, guided ones twice) that accepted requests may add up to; 0: "
         "what the default model's warm-up says takes five minutes, or the largest request")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000'000}));
  option("max_bytes", flags.admission.max_bytes,
         "Memory that accepted requests and their results may add up to; 0: half of what the "
         "models leave of the machine's or container's memory, up to 8 GiB")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 50));
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
  number("result_cache_seconds", flags.result_cache_seconds, 0.0, 86400.0,
         "Seconds that such a result is kept; 0 keeps none");
  number("write_timeout", flags.write_timeout, 0.1, 86400.0,
         "Seconds that a client may leave its results unread before its request is cancelled");
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
  number("reload_interval", flags.reload_interval, 0.01, 86400.0,
         "Seconds between looks at the files above; what has changed is in force then");
  choice("log_format", flags.log_format, "Form of the log: text, or json (an object a line)",
         {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}, "text");
  choice("log_level", flags.log_level, "Least level that is logged: debug, info, warn or error",
         {{"debug", spdlog::level::debug},
          {"info", spdlog::level::info},
          {"warn", spdlog::level::warn},
          {"error", spdlog::level::err}},
         "info");
}

}  // namespace skipstream
