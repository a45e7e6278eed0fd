#include "client/cli/commands/generate_flags.h"

#include <functional>
#include <limits>

#include "client/cli/commands/sampler_flags.h"
#include "client/cli/flags/flag_helpers.h"
#include "client/cli/flags/list_parser.h"

namespace skipstream::cli {
namespace {

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
      command, "--priority", [&](v1::Priority priority) { flags.base.set_priority(priority); },
      "Scheduling class (default: normal)");
}

void AddGuidance(CLI::App& command, GenerateFlags& flags) {
  const auto guidance = [&flags] { return flags.base.mutable_guidance(); };
  CLI::Option* scale = AddList(command, "--guidance", flags.axes.guidance, &ParseNumbers,
                               "Guidance scales, 0 to 100 (default: 1, none); an evaluation then "
                               "costs two rows",
                               "LIST");
  AddParsed<v1::NoiseWindow>(
      command, "--guidance_interval", &ParseWindow,
      [=](const v1::NoiseWindow& window) {
        if (window.has_sigma_lo()) guidance()->set_sigma_lo(window.sigma_lo());
        if (window.has_sigma_hi()) guidance()->set_sigma_hi(window.sigma_hi());
      },
      "Guidance only at these noise levels, e.g. 0.3,5", "LO,HI")
      ->needs(scale);
  AddValue<std::string>(
      command, "--guide_model", [=](const std::string& name) { guidance()->set_guide_model(name); },
      "Autoguidance: away from what this model makes (default: from the model without class)",
      "NAME")
      ->needs(scale);
}

void AddInputImage(CLI::App& command, GenerateFlags& flags) {
  CLI::Option* image =
      command
          .add_option(
              "--image", flags.image_file,
              "Init image to start from (PNG, WebP or raw), of the model's size or a multiple")
          ->type_name("FILE");
  AddValue<double>(
      command, "--strength",
      [&flags](double value) { flags.base.mutable_input_image()->set_strength(value); },
      "How much of it is made anew, above 0 to 1 (default: 0.6; with a mask 1)", "X")
      ->needs(image);
  command
      .add_option(
          "--mask", flags.mask_file,
          "Inpainting: white is made anew, black stays (default: all is made anew). The PNG "
          "carries the whole original image; --no_metadata leaves it out")
      ->type_name("FILE")
      ->needs(image);
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
  CLI::Option* list = AddParsed<std::vector<double>>(
      command, "--rho_list", &ParseNumbers,
      [=](const std::vector<double>& values) {
        tuning()->mutable_explicit_rho()->mutable_rho()->Add(values.begin(), values.end());
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
  CLI::Option* window = AddParsed<v1::NoiseWindow>(
      command, "--noise_window", &ParseWindow,
      [=](const v1::NoiseWindow& value) { *noise()->mutable_window() = value; },
      "Skip-tuning only at these noise levels, e.g. 0.5,10 or 5,", "LO,HI");
  CLI::Option* ramp = AddWord(
      command, "--noise_ramp", {"high", "low"},
      [=](const std::string& end) {
        noise()->mutable_ramp()->set_direction(
            end == "high" ? v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA
                          : v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA);
      },
      "Skip-tuning strongest at high or at low noise");
  CLI::Option* knots = AddParsed<v1::NoiseKnots>(
      command, "--noise_knots", &ParseKnots,
      [=](const v1::NoiseKnots& value) { *noise()->mutable_knots() = value; },
      "Strength of the skip-tuning by noise level, e.g. 0.1:0,5:1", "SIGMA:STRENGTH,...");
  Exclusive({window, ramp, knots, preset});
}

void AddImage(CLI::App& command, GenerateFlags& flags) {
  const auto output = [&flags] { return flags.base.mutable_output(); };
  AddChoice<v1::ImageFormat>(
      command, "--format", [=](v1::ImageFormat format) { output()->set_format(format); },
      "Encoding of the images (default: png)");
  AddValue<int>(
      command, "--scale", [=](int scale) { output()->set_scale(scale); },
      "Enlarge by a whole factor (default: 1)", "K");
  command.add_flag_callback(
      "--no_metadata", [=] { output()->set_no_metadata(true); },
      "Leave the request out of PNG files; they carry it, and with --image and --mask the whole "
      "original image");
  AddValue<int>(
      command, "--preview_every", [=](int every) { output()->set_preview_every(every); },
      "A preview after every N evaluations; needs --preview_dir", "N")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()).description(""));
}

void AddFiles(CLI::App& command, GenerateFlags& flags) {
  command
      .add_option(
          "--out", flags.out,
          "File, or pattern with {index} {seed} {class} {nfe} {rho} {guidance} {solver}, or - "
          "for standard output; a plain .png name for a sweep is its sheet")
      ->type_name("FILE");
  command
      .add_option("--grid", flags.grid, "Contact sheet of all images (.png); labelled for a sweep")
      ->type_name("FILE");
  command.add_option("--title", flags.title, "Title of a labelled sheet")->type_name("TEXT");
  command.add_option("--preview_dir", flags.preview_dir, "Folder for previews")->type_name("DIR");
}

void AddRunning(CLI::App& command, GenerateFlags& flags) {
  AddTimeoutFlag(command, flags.timeout_seconds, "never");
  command
      .add_option("--max_concurrent", flags.max_concurrent,
                  "Requests of a sweep sent at a time (default: 32)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024).description(""));
  command
      .add_option("--request_id", flags.request_id,
                  "Name of this request: sent again shortly after with the same name, it joins the "
                  "running one or gets its result (default: drawn). A sweep of several requests "
                  "numbers them")
      ->type_name("ID")
      ->check(Utf8());
  command.add_flag("--json", flags.json, "Print a summary as one JSON object");
  command.add_flag("--quiet", flags.quiet, "Print nothing but errors");
}

}  // namespace

void AddGenerateFlags(CLI::App& command, GenerateFlags& flags) {
  const auto in_group = [&command](const std::string& group, const std::function<void()>& add) {
    command.option_defaults()->group(group);
    add();
  };
  in_group("What", [&] { AddWhat(command, flags); });
  CLI::Option* nfe = nullptr;
  in_group("Sampler", [&] { nfe = AddSamplerFlags(command, flags); });
  in_group("Options of some solvers", [&] { AddSolverOptionFlags(command, flags); });
  in_group("Guidance", [&] { AddGuidance(command, flags); });
  in_group("Init image", [&] { AddInputImage(command, flags); });
  in_group("Skip-tuning", [&] { AddSkipTuning(command, flags, nfe); });
  in_group("Image", [&] { AddImage(command, flags); });

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
  in_group("Server", [&] { AddConnectionFlags(command, flags.connection); });
}

}  // namespace skipstream::cli
