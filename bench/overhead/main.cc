// Prints what the server costs against the plain executor loop.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "bench/overhead/overhead_bench.h"
#include "bench/overhead/spread.h"
#include "nlohmann/json.hpp"

namespace skipstream::bench {
namespace {

constexpr int kConcurrent = 16;

struct Flags {
  OverheadBench::Options bench;
  int repeats = 15;
  bool json = false;
};

std::string DefaultModel() {
  std::error_code error;
  const auto executable = std::filesystem::read_symlink("/proc/self/exe", error);
  return executable.parent_path().parent_path() / "share/skipstream/models/nouns32.safetensors";
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--model", flags.bench.model, "Model file")
      ->default_val(DefaultModel())
      ->check(CLI::ExistingFile);
  app.add_option("--nfe", flags.bench.nfe, "Evaluations per image (Heun: odd)")
      ->capture_default_str();
  app.add_option("--repeats", flags.repeats, "Measurements of each kind")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  app.add_option("--threads", flags.bench.threads, "Threads of either executor; 0: all cores")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  app.add_flag("--json", flags.json, "End with one line of JSON");
}

// A measurement with the unit it is shown in: value = unit(seconds).
template <typename Unit>
Spread InUnit(const std::vector<double>& seconds, Unit unit) {
  std::vector<double> values;
  for (double value : seconds) values.push_back(unit(value));
  return SpreadOf(values);
}

double Milliseconds(double seconds) { return seconds * 1e3; }
double ImagesPerSecond(double seconds) { return kConcurrent / seconds; }

std::string Text(const Spread& spread, int digits) {
  return absl::StrFormat("%.*f (%.*f..%.*f)", digits, spread.median, digits, spread.lowest, digits,
                         spread.highest);
}

nlohmann::json ToJson(const Spread& spread) {
  return {{"min", spread.lowest}, {"median", spread.median}, {"max", spread.highest}};
}

void PrintRow(const std::string& name, const std::string& value, const std::string& ratio) {
  std::printf("  %-24s %-26s %s\n", name.c_str(), value.c_str(), ratio.c_str());
}

// `server` is what the ratios put against each way of the plain loop.
template <typename Unit>
void PrintTable(const std::string& title, const std::string& unit_name, const Timings& timings,
                const std::vector<double>& server, Unit unit) {
  PrintRow(title, unit_name, "time of the server / time");
  PrintRow("plain loop, pixels", Text(InUnit(timings.loop, unit), 2),
           Text(RatioOf(server, timings.loop), 3));
  PrintRow("plain loop, PNG", Text(InUnit(timings.loop_and_png, unit), 2),
           Text(RatioOf(server, timings.loop_and_png), 3));
  PrintRow("server, PNG", Text(InUnit(server, unit), 2), "");
  std::printf("\n");
}

double Percent(const Spread& ratio) { return (ratio.median - 1.0) * 100.0; }

void Report(const Flags& flags, const Timings& lone, const Timings& many) {
  const Spread lone_ratio = RatioOf(lone.first_image, lone.loop);
  const Spread many_ratio = RatioOf(many.server, many.loop);
  std::printf("NFE %d, Heun, %d repeats in turns: median (min..max)\n\n", flags.bench.nfe,
              flags.repeats);
  PrintTable("lone request", "ms to first image", lone, lone.first_image, Milliseconds);
  PrintTable("16 concurrent requests", "images/s", many, many.server, ImagesPerSecond);
  // Against the loop without PNG: encoding is part of what the server does.
  std::printf("overhead: lone %.1f %%, 16 concurrent %.1f %%\n", Percent(lone_ratio),
              Percent(many_ratio));
  if (!flags.json) return;
  const nlohmann::json json = {
      {"nfe", flags.bench.nfe},
      {"repeats", flags.repeats},
      {"threads", flags.bench.threads},
      {"lone",
       {{"loop_ms", ToJson(InUnit(lone.loop, Milliseconds))},
        {"loop_png_ms", ToJson(InUnit(lone.loop_and_png, Milliseconds))},
        {"server_ms", ToJson(InUnit(lone.first_image, Milliseconds))},
        {"ratio", ToJson(lone_ratio)},
        {"ratio_png", ToJson(RatioOf(lone.first_image, lone.loop_and_png))},
        {"overhead_percent", Percent(lone_ratio)}}},
      {"concurrent_16",
       {{"loop_images_per_second", ToJson(InUnit(many.loop, ImagesPerSecond))},
        {"loop_png_images_per_second", ToJson(InUnit(many.loop_and_png, ImagesPerSecond))},
        {"server_images_per_second", ToJson(InUnit(many.server, ImagesPerSecond))},
        {"ratio", ToJson(many_ratio)},
        {"ratio_png", ToJson(RatioOf(many.server, many.loop_and_png))},
        {"overhead_percent", Percent(many_ratio)}}}};
  std::printf("%s\n", json.dump().c_str());
}

absl::Status Run(const Flags& flags) {
  const auto bench = OverheadBench::Create(flags.bench);
  if (!bench.ok()) return bench.status();
  if (absl::Status status = (*bench)->CheckSameImages(); !status.ok()) return status;
  const auto lone = (*bench)->Measure(1, flags.repeats);
  if (!lone.ok()) return lone.status();
  const auto many = (*bench)->Measure(kConcurrent, flags.repeats);
  if (!many.ok()) return many.status();
  Report(flags, *lone, *many);
  return absl::OkStatus();
}

}  // namespace
}  // namespace skipstream::bench

int main(int argc, char** argv) {
  CLI::App app(
      "What the server costs: the same images through a whole in-process server, over\n"
      "gRPC on the loopback interface, and through the plain executor loop.");
  skipstream::bench::Flags flags;
  skipstream::bench::AddFlags(app, flags);
  CLI11_PARSE(app, argc, argv);
  flags.bench.max_samples = skipstream::bench::kConcurrent;
  const absl::Status status = skipstream::bench::Run(flags);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
