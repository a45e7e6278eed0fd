// Defines the server's flags.
#ifndef SKIPSTREAM_SERVER_STARTUP_FLAGS_H_
#define SKIPSTREAM_SERVER_STARTUP_FLAGS_H_

#include <spdlog/common.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/network_form.h"
#include "server/engine/admission.h"
#include "server/log/event_log.h"
#include "server/request/request_limits.h"
#include "server/startup/host_limits.h"

namespace skipstream {

struct Flags {
  std::string listen = "0.0.0.0:50051";
  std::string metrics_listen = "0.0.0.0:9464";
  std::vector<std::string> models = {"nouns32"};
  std::string model_dir;  // default in DefineFlags()
  std::string device = "auto";
  int max_batch = 0;  // automatic
  int slots = 0;      // automatic
  int threads = 1;    // number of the host's processors (SetHostDefaults)
  bool deterministic = false;
  Kernels kernels = Kernels::kAuto;
  std::optional<Precision> precision;
  double drain_timeout = 30;
  double warmup_budget = 5;
  Admission::Options admission = {.max_evaluations = 0, .max_bytes = 0};  // automatic
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

// Sets the defaults that depend on the machine and its limits. Called before DefineFlags.
void SetHostDefaults(const HostLimits& limits, Flags& flags);

// Registers every flag, with its environment variable and its range; parsing fills `flags`, which
// outlives `app`.
void DefineFlags(CLI::App& app, Flags& flags);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_STARTUP_FLAGS_H_
