#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cc/skipstream_client.h"
#include "client/cli/commands/commands.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/flag_helpers.h"
#include "client/cli/output/enum_words.h"
#include "client/cli/output/message_json.h"
#include "client/cli/output/output.h"
#include "client/cli/output/text.h"
#include "client/cli/output/user_errors.h"
#include "client/cli/sweep/sweep.h"

namespace skipstream::cli {
namespace {

constexpr size_t kTextWidth = 80;

struct ModelsFlags {
  ConnectionFlags connection;
  std::string name;
  double timeout_seconds = 30;
  bool json = false;
};

std::string Row(const std::string& key, const std::string& value) {
  return absl::StrFormat("%-16s %s\n", key, Printable(value));
}

// "cat, dog, ..." over as many lines as it takes, each value with its index.
std::string ClassTable(const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::string text, line = " ";
  for (int i = 0; i < names.size(); ++i) {
    const std::string entry = absl::StrCat(" ", i, ":", Printable(names[i]));
    if (line.size() + entry.size() > kTextWidth) {
      absl::StrAppend(&text, line, "\n");
      line = " ";
    }
    absl::StrAppend(&line, entry);
  }
  return absl::StrCat(text, line, "\n");
}

std::string DescribeNoise(const v1::NoiseProfile& noise) {
  switch (noise.profile_case()) {
    case v1::NoiseProfile::kWindow: {
      const v1::NoiseWindow& window = noise.window();
      if (!window.has_sigma_hi()) return absl::StrCat(", sigma from ", window.sigma_lo());
      return absl::StrCat(", sigma ", window.sigma_lo(), " to ", window.sigma_hi());
    }
    case v1::NoiseProfile::kRamp:
      return noise.ramp().direction() == v1::NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA
                 ? ", strongest at low sigma"
                 : ", strongest at high sigma";
    case v1::NoiseProfile::kKnots:
      return absl::StrCat(", ", noise.knots().knots_size(), " noise knots");
    case v1::NoiseProfile::PROFILE_NOT_SET:
      return "";
  }
  return "";
}

std::string DescribeModel(const v1::GetModelResponse& model) {
  std::string text;
  absl::StrAppend(&text, Row("name", model.name() + (model.is_default() ? " (default)" : "")));
  absl::StrAppend(&text, Row("size", absl::StrCat(model.width(), "x", model.height(), ", ",
                                                  model.channels() == 1 ? "grey" : "RGB")));
  absl::StrAppend(
      &text, Row("network", absl::StrCat(model.architecture(), ", ", model.preconditioning(), ", ",
                                         model.parameter_count(), " parameters")));
  absl::StrAppend(
      &text, Row("computed by", absl::StrCat(model.kernels(), " kernels in ", model.precision())));
  absl::StrAppend(&text, Row("skips", absl::StrCat(model.num_skips())));
  absl::StrAppend(
      &text,
      Row("guidance", model.supports_guidance() ? "yes" : "by another model only (--guide_model)"));
  absl::StrAppend(&text, Row("sha256", model.sha256()));
  if (!model.license().empty()) absl::StrAppend(&text, Row("license", model.license()));

  const v1::Limits& limits = model.limits();
  absl::StrAppend(&text, "limits\n");
  absl::StrAppendFormat(&text, "  count 1 to %d, NFE 1 to %d, scale 1 to %d\n", limits.max_count(),
                        limits.max_nfe(), limits.max_scale());
  absl::StrAppendFormat(&text, "  sigma %g to %g, rho %g to %g\n", limits.sigma_min(),
                        limits.sigma_max(), limits.rho_min(), limits.rho_max());
  if (model.sigma_levels_size() > 0) {
    absl::StrAppendFormat(&text, "  noise levels are rounded to %d that the model knows\n",
                          model.sigma_levels_size());
  }
  if (model.presets_size() > 0) absl::StrAppend(&text, "presets\n");
  for (const v1::Preset& preset : model.presets()) {
    const std::string solver = ToWord(preset.solver());
    absl::StrAppendFormat(&text, "  %-16s NFE %d%s: rho %s%s\n", Printable(preset.name()),
                          preset.nfe(), solver.empty() ? "" : ", " + solver,
                          Printable(DescribeRho(preset.skip_tuning())),
                          DescribeNoise(preset.skip_tuning().noise()));
  }
  if (model.num_classes() > 0) {
    absl::StrAppend(&text, "classes (", model.num_classes(), ")\n");
    if (model.class_names_size() > 0) absl::StrAppend(&text, ClassTable(model.class_names()));
  }
  return text;
}

std::string DescribeModels(const v1::ListModelsResponse& response) {
  size_t width = 5;
  for (const v1::ModelSummary& model : response.models()) {
    width = std::max(width, Printable(model.name()).size());
  }
  std::string text = absl::StrFormat("%-*s  %-9s  %7s  %5s\n", static_cast<int>(width), "MODEL",
                                     "SIZE", "CLASSES", "SKIPS");
  for (const v1::ModelSummary& model : response.models()) {
    absl::StrAppendFormat(&text, "%-*s  %-9s  %7d  %5d%s\n", static_cast<int>(width),
                          Printable(model.name()), absl::StrCat(model.width(), "x", model.height()),
                          model.num_classes(), model.num_skips(),
                          model.is_default() ? "  (default)" : "");
  }
  return text;
}

template <typename Response, typename Describe>
int Print(const absl::StatusOr<Response>& response, const ModelsFlags& flags, Describe describe) {
  if (!response.ok()) return ReportError(response.status(), flags.connection.server);
  return PrintOutput(flags.json ? MessageToPrettyJson(*response) : describe(*response), kExitOk);
}

int RunModels(const ModelsFlags& flags) {
  const absl::StatusOr<client::Client::Options> options = ClientOptionsOf(flags.connection);
  if (!options.ok()) return ReportFlagError(options.status());
  client::Client client(*options);
  const client::Deadline deadline = client::Deadline::In(absl::Seconds(flags.timeout_seconds));
  if (flags.name.empty()) return Print(client.ListModels(deadline), flags, DescribeModels);
  return Print(client.GetModel(flags.name, deadline), flags, DescribeModel);
}

}  // namespace

Command AddModelsCommand(CLI::App& app) {
  auto flags = std::make_shared<ModelsFlags>();
  CLI::App* command = app.add_subcommand("models", "List the models, or describe one in full");
  command->add_option("name", flags->name, "Model to describe: classes, presets, limits")
      ->type_name("")
      ->check(Utf8());
  AddConnectionFlags(*command, flags->connection);
  AddTimeoutFlag(*command, flags->timeout_seconds, "30");
  command->add_flag("--json", flags->json, "Print JSON");
  return [flags] { return RunModels(*flags); };
}

}  // namespace skipstream::cli
