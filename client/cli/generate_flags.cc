#include "client/cli/generate_flags.h"

#include <functional>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_join.h"
#include "client/cli/list_parser.h"

namespace skipstream::cli {
namespace {

// Unwraps what a parser made of a flag's text; CLI11 reports errors by exception.
template <typename T>
T ValueOrThrow(const std::string& flag, absl::StatusOr<T> parsed) {
  if (!parsed.ok()) throw CLI::ValidationError(flag, std::string(parsed.status().message()));
  return *std::move(parsed);
}

// A flag that may be repeated; every occurrence is a list.
template <typename T>
CLI::Option* AddList(CLI::App& command, const std::string& flag, std::vector<T>& values,
                     absl::StatusOr<std::vector<T>> (*parse)(absl::string_view),
                     const std::string& help, const std::string& type) {
  const auto append = [flag, parse, &values](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      for (T& value : ValueOrThrow(flag, parse(text))) values.push_back(std::move(value));
    }
  };
  return command.add_option_function<std::vector<std::string>>(flag, append, help)
      ->allow_extra_args(false)
      ->type_name(type);
}

// A flag with one value that goes to `use`.
template <typename T>
CLI::Option* AddValue(CLI::App& command, const std::string& flag, std::function<void(T)> use,
                      const std::string& help, const std::string& type) {
  return command.add_option_function<T>(
                    flag, [use](const T& value) { use(value); }, help)
      ->type_name(type);
}

// A flag whose value is one of a few words.
template <typename Enum>
CLI::Option* AddChoice(CLI::App& command, const std::string& flag,
                       const std::map<std::string, Enum>& choices, std::function<void(Enum)> use,
                       const std::string& help) {
  std::vector<std::string> words;
  for (const auto& [word, value] : choices) words.push_back(word);
  return command
      .add_option_function<std::string>(
          flag, [choices, use](const std::string& word) { use(choices.at(word)); }, help)
      ->check(CLI::IsMember(words).description(""))
      ->type_name(absl::StrJoin(words, "|"));
}

void Exclusive(const std::vector<CLI::Option*>& options) {
  for (CLI::Option* a : options) {
    for (CLI::Option* b : options) {
      if (a != b) a->excludes(b);
    }
  }
}

void AddWhat(CLI::App& command, GenerateFlags& flags) {
  AddValue<std::string>(
      command, "--model", [&](std::string name) { flags.base.set_model(name); },
      "Model (default: the server's; see `skipstream models`)", "NAME");
  AddList(command, "--class", flags.axes.classes, &ParseClasses,
          "Classes, by name or index (default: chosen by the seed)", "LIST");
  AddValue<int>(
      command, "--count", [&](int count) { flags.axes.count = count; },
      "Images per class and row (default: one per seed)", "N")
      ->check(CLI::Range(1, 65536).description(""));
  AddList(command, "--seed", flags.axes.seeds, &ParseSeeds,
          "Seeds, e.g. 7 or 1-8 or 1,5-7 (default: drawn)", "LIST");
  command.add_flag("--cross", flags.axes.cross, "Never pair: every class gets every seed");
  AddChoice<v1::Priority>(
      command, "--priority",
      {{"low", v1::PRIORITY_LOW}, {"normal", v1::PRIORITY_NORMAL}, {"high", v1::PRIORITY_HIGH}},
      [&](v1::Priority priority) { flags.base.set_priority(priority); }, "Scheduling class");
}

// Returns --nfe.
CLI::Option* AddSampler(CLI::App& command, GenerateFlags& flags) {
  const auto sampler = [&flags] { return flags.base.mutable_sampler(); };
  AddList(command, "--solver", flags.axes.solvers, &ParseSolvers, "heun (default), euler", "LIST");
  CLI::Option* nfe = AddList(command, "--nfe", flags.axes.nfe, &ParseIntegers,
                             "Network evaluations per image (default: 19; odd for heun)", "LIST");
  CLI::Option* lowest = AddValue<double>(
      command, "--sigma_min", [=](double value) { sampler()->set_sigma_min(value); },
      "Lowest noise level (default: 0.002)", "X");
  CLI::Option* highest = AddValue<double>(
      command, "--sigma_max", [=](double value) { sampler()->set_sigma_max(value); },
      "Highest noise level (default: 80)", "X");
  CLI::Option* exponent = AddValue<double>(
      command, "--schedule_exponent",
      [=](double value) { sampler()->mutable_karras()->set_schedule_exponent(value); },
      "Exponent of the Karras schedule (default: 7)", "X");
  CLI::Option* sigmas = AddValue<std::string>(
      command, "--sigmas",
      [=](std::string text) {
        for (double sigma : ValueOrThrow("--sigmas", ParseNumbers(text))) {
          sampler()->mutable_explicit_levels()->add_sigmas(sigma);
        }
      },
      "Noise levels, decreasing, e.g. 80,20,5,1,0.1", "LIST");
  for (CLI::Option* other : {lowest, highest, exponent}) sigmas->excludes(other);

  const auto churn = [=] { return sampler()->mutable_churn(); };
  AddValue<double>(
      command, "--s_churn", [=](double value) { churn()->set_s_churn(value); },
      "Fresh noise over all levels (default: 0, deterministic)", "X");
  AddValue<double>(
      command, "--s_min", [=](double value) { churn()->set_s_min(value); },
      "Lowest level with fresh noise (default: 0)", "X");
  AddValue<double>(
      command, "--s_max", [=](double value) { churn()->set_s_max(value); },
      "Highest level with fresh noise (default: no limit)", "X");
  AddValue<double>(
      command, "--s_noise", [=](double value) { churn()->set_s_noise(value); },
      "Standard deviation of the fresh noise (default: 1)", "X");
  return nfe;
}

void AddSkipTuning(CLI::App& command, GenerateFlags& flags, CLI::Option* nfe) {
  const auto tuning = [&flags] { return flags.base.mutable_skip_tuning(); };
  CLI::Option* rho = AddList(command, "--rho", flags.axes.rho, &ParseNumbers,
                             "Skip coefficients, 0 to 2 (default: 1)", "LIST");
  CLI::Option* bottom = AddValue<double>(
      command, "--rho_bottom", [=](double value) { tuning()->mutable_linear()->set_bottom(value); },
      "rho of the deepest skip; linear up to --rho_top", "X");
  CLI::Option* top = AddValue<double>(
      command, "--rho_top", [=](double value) { tuning()->mutable_linear()->set_top(value); },
      "rho of the shallowest skip; linear down to --rho_bottom", "X");
  CLI::Option* list = AddValue<std::string>(
      command, "--rho_list",
      [=](std::string text) {
        for (double value : ValueOrThrow("--rho_list", ParseNumbers(text))) {
          tuning()->mutable_explicit_rho()->add_rho(value);
        }
      },
      "One rho per skip, the deepest first", "LIST");
  CLI::Option* preset = AddValue<std::string>(
      command, "--preset", [=](std::string name) { tuning()->set_preset(name); },
      "Skip-tuning that the model recommends for its NFE", "NAME");
  CLI::Option* rows = AddList(command, "--rows", flags.axes.rows, &ParseRows,
                              "Rows nfe:rho or nfe:rho:solver, instead of --nfe and --rho, e.g. "
                              "9:0.9,9:1.0,35:1.0",
                              "LIST");
  Exclusive({rho, bottom, list, preset, rows});
  for (CLI::Option* other : {rho, list, preset, rows}) top->excludes(other);
  rows->excludes(nfe);

  const auto noise = [=] { return tuning()->mutable_noise(); };
  CLI::Option* window = AddValue<std::string>(
      command, "--noise_window",
      [=](std::string text) {
        *noise()->mutable_window() = ValueOrThrow("--noise_window", ParseWindow(text));
      },
      "Skip-tuning only at these noise levels, e.g. 0.5,10 or 5,", "LO,HI");
  CLI::Option* ramp = AddChoice<v1::NoiseRampDirection>(
      command, "--noise_ramp",
      {{"high", v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA},
       {"low", v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA}},
      [=](v1::NoiseRampDirection end) { noise()->mutable_ramp()->set_direction(end); },
      "Skip-tuning strongest at high or at low noise");
  CLI::Option* knots = AddValue<std::string>(
      command, "--noise_knots",
      [=](std::string text) {
        *noise()->mutable_knots() = ValueOrThrow("--noise_knots", ParseKnots(text));
      },
      "Strength of the skip-tuning by noise level, e.g. 0.1:0,5:1", "SIGMA:STRENGTH,...");
  Exclusive({window, ramp, knots, preset});
}

void AddPicture(CLI::App& command, GenerateFlags& flags) {
  const auto output = [&flags] { return flags.base.mutable_output(); };
  AddChoice<v1::ImageFormat>(
      command, "--format",
      {{"png", v1::IMAGE_FORMAT_PNG},
       {"webp", v1::IMAGE_FORMAT_WEBP},
       {"raw", v1::IMAGE_FORMAT_RAW}},
      [=](v1::ImageFormat format) { output()->set_format(format); },
      "Encoding of the images (default: png)");
  AddValue<int>(
      command, "--scale", [=](int scale) { output()->set_scale(scale); },
      "Enlarge by a whole factor (default: 1)", "K");
  AddValue<int>(
      command, "--preview_every", [=](int every) { output()->set_preview_every(every); },
      "A preview after every N evaluations; needs --preview_dir", "N")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()).description(""));
}

void AddFiles(CLI::App& command, GenerateFlags& flags) {
  command
      .add_option("--out", flags.out,
                  "File, or pattern with {index} {seed} {class} {nfe} {rho} {solver}, or - for "
                  "standard output; a plain .png name for a sweep is its sheet")
      ->type_name("FILE");
  command
      .add_option("--grid", flags.grid, "Contact sheet of all images (.png); labelled for a sweep")
      ->type_name("FILE");
  command.add_option("--title", flags.title, "Title of a labelled sheet")->type_name("TEXT");
  command.add_option("--preview_dir", flags.preview_dir, "Folder for previews")->type_name("DIR");
}

void AddRunning(CLI::App& command, GenerateFlags& flags) {
  AddServerFlag(command, flags.server);
  command.add_option("--timeout", flags.timeout_seconds, "Give up after so long (default: never)")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber.description(""));
  command
      .add_option("--max_concurrent", flags.max_concurrent,
                  "Requests of a sweep sent at a time (default: 32)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024).description(""));
  command.add_flag("--json", flags.json, "Print a summary as one JSON object");
  command.add_flag("--quiet", flags.quiet, "Print nothing but errors");
}

}  // namespace

void AddServerFlag(CLI::App& command, std::string& server) {
  command.add_option("--server", server, "Server (default: localhost:50051)")
      ->type_name("HOST:PORT")
      ->envname("SKIPSTREAM_SERVER");
}

void AddGenerateFlags(CLI::App& command, GenerateFlags& flags) {
  const auto in_group = [&command](const std::string& group, const std::function<void()>& add) {
    command.option_defaults()->group(group);
    add();
  };
  in_group("What", [&] { AddWhat(command, flags); });
  CLI::Option* nfe = nullptr;
  in_group("Sampler", [&] { nfe = AddSampler(command, flags); });
  in_group("Skip-tuning", [&] { AddSkipTuning(command, flags, nfe); });
  in_group("Picture", [&] { AddPicture(command, flags); });

  std::vector<CLI::Option*> describes_request;
  for (CLI::Option* option : command.get_options()) {
    if (option != command.get_help_ptr()) describes_request.push_back(option);
  }
  in_group("Files", [&] { AddFiles(command, flags); });
  CLI::Option* replay =
      command
          .add_option("--request", flags.request_file,
                      "Send the request in this PNG (as the server wrote it) or JSON file again, "
                      "exactly; the same image comes back (byte for byte from a "
                      "server with --deterministic)")
          ->type_name("FILE");
  for (CLI::Option* option : describes_request) replay->excludes(option);
  in_group("Running", [&] { AddRunning(command, flags); });
}

}  // namespace skipstream::cli
