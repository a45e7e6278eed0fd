#include "client/cli/commands/sampler_flags.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/flags/flag_helpers.h"
#include "client/cli/flags/list_parser.h"

namespace skipstream::cli {
namespace {

// The schedules that are described by a name: all of the API but the explicit levels.
std::vector<std::string> ScheduleWords() {
  const google::protobuf::OneofDescriptor* schedules =
      v1::Sampler::descriptor()->FindOneofByName("schedule");
  std::vector<std::string> words;
  for (int i = 0; i < schedules->field_count(); ++i) {
    if (schedules->field(i)->number() == v1::Sampler::kExplicitLevelsFieldNumber) continue;
    words.push_back(schedules->field(i)->name());
  }
  return words;
}

void SetSchedule(v1::Sampler& sampler, const std::string& word) {
  v1::Sampler::GetReflection()->MutableMessage(&sampler,
                                               v1::Sampler::descriptor()->FindFieldByName(word));
}

// Runs after --schedule, which is registered first.
void SetExponent(v1::Sampler& sampler, double exponent) {
  if (sampler.schedule_case() != v1::Sampler::SCHEDULE_NOT_SET && !sampler.has_karras()) {
    throw CLI::ValidationError("--schedule_exponent", "belongs to --schedule karras");
  }
  sampler.mutable_karras()->set_schedule_exponent(exponent);
}

}  // namespace

CLI::Option* AddSamplerFlags(CLI::App& command, GenerateFlags& flags) {
  const auto sampler = [&flags] { return flags.base.mutable_sampler(); };
  AddList(
      command, "--solver", flags.axes.solvers, &ParseSolvers,
      absl::StrCat("Default: heun. One or several of ", absl::StrJoin(WordsOf<v1::Solver>(), ", ")),
      "LIST");
  CLI::Option* nfe =
      AddList(command, "--nfe", flags.axes.nfe, &ParseIntegers,
              "Network evaluations per image (default: 19; heun and dpm2: odd, but even "
              "with --final_step sigma_min)",
              "LIST");
  CLI::Option* lowest = AddValue<double>(
      command, "--sigma_min", [=](double value) { sampler()->set_sigma_min(value); },
      "Lowest noise level (default: 0.002; vp 0.0105, ve 0.02)", "X");
  CLI::Option* highest = AddValue<double>(
      command, "--sigma_max", [=](double value) { sampler()->set_sigma_max(value); },
      "Highest noise level (default: 80; vp 152, ve 100, iddpm 81)", "X");
  CLI::Option* schedule = AddWord(
      command, "--schedule", ScheduleWords(),
      [=](const std::string& word) { SetSchedule(*sampler(), word); },
      "Noise levels in between (default: karras)");
  CLI::Option* exponent = AddValue<double>(
      command, "--schedule_exponent", [=](double value) { SetExponent(*sampler(), value); },
      "Exponent of the Karras schedule (default: 7)", "X");
  CLI::Option* sigmas = AddParsed<std::vector<double>>(
      command, "--sigmas", &ParseNumbers,
      [=](const std::vector<double>& levels) {
        sampler()->mutable_explicit_levels()->mutable_sigmas()->Add(levels.begin(), levels.end());
      },
      "Noise levels, decreasing, e.g. 80,20,5,1,0.1", "LIST");
  for (CLI::Option* other : {lowest, highest, schedule, exponent}) sigmas->excludes(other);
  AddChoice<v1::FinalStep>(
      command, "--final_step", [=](v1::FinalStep step) { sampler()->set_final_step(step); },
      "Where the last step ends (default: zero)");
  AddParsed<std::vector<double>>(
      command, "--conditioning_sigmas", &ParseNumbers,
      [=](const std::vector<double>& levels) {
        sampler()->mutable_conditioning_sigmas()->Add(levels.begin(), levels.end());
      },
      "What the network is told the noise levels are, one per evaluation", "LIST");
  return nfe;
}

void AddSolverOptionFlags(CLI::App& command, GenerateFlags& flags) {
  const auto sampler = [&flags] { return flags.base.mutable_sampler(); };
  const auto churn = [=] { return sampler()->mutable_churn(); };
  AddValue<double>(
      command, "--s_churn", [=](double value) { churn()->set_s_churn(value); },
      "euler, heun: fresh noise over all levels (default: 0, deterministic)", "X");
  AddValue<double>(
      command, "--s_min", [=](double value) { churn()->set_s_min(value); },
      "euler, heun: lowest level with fresh noise (default: 0)", "X");
  AddValue<double>(
      command, "--s_max", [=](double value) { churn()->set_s_max(value); },
      "euler, heun: highest level with fresh noise (default: no limit)", "X");
  AddValue<double>(
      command, "--eta", [=](double value) { sampler()->mutable_step_noise()->set_eta(value); },
      "euler_ancestral, dpmpp_2m_sde: share of fresh noise (default: 1; 0: deterministic)", "X");
  // FitSolverOptions() gives it to the solver it is for.
  AddValue<double>(
      command, "--s_noise", [=](double value) { churn()->set_s_noise(value); },
      "Standard deviation of the fresh noise of any of these (default: 1)", "X");

  command.add_flag_callback(
      "--halved_curvature", [=] { sampler()->mutable_dpmpp_3m()->set_halved_curvature(true); },
      "dpmpp_3m: the form of the published code, of order 2");
  const auto unipc = [=] { return sampler()->mutable_unipc(); };
  AddValue<int>(
      command, "--unipc_order", [=](int order) { unipc()->set_order(order); },
      "unipc: order of the predictor, 1 to 3 (default: 2)", "N");
  AddChoice<v1::UnipcVariant>(
      command, "--unipc_variant", [=](v1::UnipcVariant variant) { unipc()->set_variant(variant); },
      "unipc: B(h) (default: bh2)");
  command.add_flag_callback(
      "--no_corrector", [=] { unipc()->set_corrector(false); }, "unipc: predictor only");
  AddValue<double>(
      command, "--consistency_sigma_min",
      [=](double value) { sampler()->set_consistency_sigma_min(value); },
      "consistency: level at which the model is the identity (default: the model's lowest, or "
      "0.002)",
      "X");
}

}  // namespace skipstream::cli
