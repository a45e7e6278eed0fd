#include "tools/parity_fixture.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/backends/cpu/cpu_backend.h"
#include "model/diffusion/sampler.h"
#include "model/execution/backend_executor.h"
#include "model/families/edm_unet/model_file.h"
#include "model/files/safetensors.h"

namespace skipstream {
namespace {

using Shape = std::vector<int64_t>;

// Holds the tensors of a fixture beside the parameters. Row-major; B rows of C * H * W elements.
struct Fixture {
  int64_t batch = 0;
  std::vector<double> x, sigma, latents, rho, levels;
  std::vector<int64_t> classes;  // -1: none
  std::vector<double> denoised_plain, denoised_skip_tuned, heun6_plain, heun6_skip_tuned;
};

template <typename Stored, typename Value>
absl::Status ReadAs(const SafetensorsFile& file, const SafetensorsEntry& entry,
                    std::vector<Value>* out) {
  std::vector<Stored> stored(entry.bytes / sizeof(Stored));
  const absl::Status status =
      file.Read(entry, absl::MakeSpan(reinterpret_cast<char*>(stored.data()), entry.bytes));
  out->assign(stored.begin(), stored.end());
  return status;
}

// Reads tensors of known dtype and shape; the first error sticks.
class FixtureReader {
 public:
  explicit FixtureReader(const SafetensorsFile& file) : file_(file) {}

  const SafetensorsEntry* Find(const std::string& name, const std::string& dtype) {
    if (!status_.ok()) return nullptr;
    const auto it = file_.tensors().find(name);
    if (it == file_.tensors().end()) {
      Fail(name, "is missing");
    } else if (it->second.dtype != dtype) {
      Fail(name, absl::StrCat("has dtype ", it->second.dtype, ", must be ", dtype));
    } else {
      return &it->second;
    }
    return nullptr;
  }

  template <typename Stored, typename Value>
  void Read(const std::string& name, const std::string& dtype, const Shape& shape,
            std::vector<Value>* out) {
    const SafetensorsEntry* entry = Find(name, dtype);
    if (entry == nullptr) return;
    if (entry->shape != shape) {
      return Fail(name, absl::StrCat("has shape [", absl::StrJoin(entry->shape, ", "),
                                     "], must be [", absl::StrJoin(shape, ", "), "]"));
    }
    status_ = ReadAs<Stored>(file_, *entry, out);
  }

  void Fail(const std::string& name, const std::string& problem) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat(file_.path(), ": not a parity fixture: ", name, " ", problem));
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  const SafetensorsFile& file_;
  absl::Status status_;
};

// A limit of the preconditioner, stated by the fixture.
void CheckLimit(const SafetensorsFile& file, const std::string& key, double expected,
                double tolerance, FixtureReader& reader) {
  double declared = 0.0;
  const auto it = file.metadata().find(key);
  if (it == file.metadata().end() || !absl::SimpleAtod(it->second, &declared) ||
      !(declared == expected || std::abs(declared - expected) <= tolerance * expected)) {
    reader.Fail(key, absl::StrCat("must be ", expected, ", what the config gives"));
  }
}

absl::StatusOr<Fixture> ReadFixture(const SafetensorsFile& file, const NetworkInfo& info) {
  Fixture fixture;
  FixtureReader reader(file);
  int declared_skips = 0;
  const auto num_skips = file.metadata().find("num_skips");
  if (num_skips == file.metadata().end() || !absl::SimpleAtoi(num_skips->second, &declared_skips) ||
      declared_skips != info.num_skips) {
    reader.Fail("num_skips", absl::StrCat("must be ", info.num_skips, ", what the config gives"));
  }
  // Discrete levels come of a long recurrence in float32, whose first steps lose digits.
  const double tolerance = info.sigma_levels.empty() ? 1e-6 : 5e-3;
  CheckLimit(file, "sigma_min", info.sigma_min, tolerance, reader);
  CheckLimit(file, "sigma_max", info.sigma_max, tolerance, reader);
  if (const SafetensorsEntry* x = reader.Find("io.x", "F32"); x != nullptr) {
    if (x->shape.empty() || x->shape[0] < 1 || x->shape[0] > 4096) {
      reader.Fail("io.x", "must have 1 to 4096 rows");
    } else {
      fixture.batch = x->shape[0];
    }
  }
  int64_t num_levels = 0;
  if (const SafetensorsEntry* levels = reader.Find("io.heun6_sigmas", "F64"); levels != nullptr) {
    if (levels->shape.size() != 1 || levels->shape[0] < 2) {
      reader.Fail("io.heun6_sigmas", "must list levels and a final 0");
    } else {
      num_levels = levels->shape[0];
    }
  }
  const int64_t b = fixture.batch;
  const Shape image = {b, info.channels, info.height, info.width};
  reader.Read<float>("io.x", "F32", image, &fixture.x);
  reader.Read<float>("io.sigma", "F32", {b}, &fixture.sigma);
  reader.Read<float>("io.rho_linear", "F32", {b, info.num_skips}, &fixture.rho);
  reader.Read<float>("io.latents", "F32", image, &fixture.latents);
  reader.Read<double>("io.heun6_sigmas", "F64", {num_levels}, &fixture.levels);
  reader.Read<float>("io.denoised_plain", "F32", image, &fixture.denoised_plain);
  reader.Read<float>("io.denoised_skip_tuned", "F32", image, &fixture.denoised_skip_tuned);
  reader.Read<double>("io.heun6_plain", "F64", image, &fixture.heun6_plain);
  reader.Read<double>("io.heun6_skip_tuned", "F64", image, &fixture.heun6_skip_tuned);
  if (info.num_classes > 0) {
    reader.Read<int64_t>("io.class", "I64", {b}, &fixture.classes);
    for (int64_t label : fixture.classes) {
      if (label < 0 || label >= info.num_classes) reader.Fail("io.class", "is out of range");
    }
  } else {
    fixture.classes.assign(b, -1);
  }
  if (reader.status().ok() && fixture.levels.back() != 0.0) {
    reader.Fail("io.heun6_sigmas", "must end with 0");
  }
  if (!reader.status().ok()) return reader.status();
  fixture.levels.pop_back();
  return fixture;
}

// Keeps the first failure of what the executor reports.
class FirstFailure : public ExecutorListener {
 public:
  void OnBatchDone(BatchResult result) override {
    Keep(result.status);
    for (const absl::Status& row : result.row_status) Keep(row);
  }
  void OnReadOut(ReadOutResult result) override { Keep(result.status); }
  const absl::Status& status() const { return status_; }

 private:
  void Keep(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }
  absl::Status status_;
};

// Runs one plan per row, all rows in the same batches, and returns what `base` ends as.
absl::StatusOr<std::vector<double>> RunPlans(
    BackendExecutor& executor, NetworkId network, const Fixture& fixture,
    const std::vector<std::shared_ptr<const SamplingPlan>>& plans,
    const std::vector<double>& latents) {
  const size_t elements = latents.size() / fixture.batch;
  std::vector<EvalRow> rows;
  for (int64_t b = 0; b < fixture.batch; ++b) {
    const auto first = latents.begin() + static_cast<int64_t>(b * elements);
    const absl::StatusOr<SlotId> slot =
        executor.AllocateSlot({network, 0, plans[b]}, std::vector<double>(first, first + elements));
    if (!slot.ok()) return slot.status();
    rows.push_back({*slot, static_cast<int>(fixture.classes[b]), plans[b], 0, 0});
  }
  for (int step = 0; step < plans[0]->nfe(); ++step) {
    for (EvalRow& row : rows) row.step = step;
    executor.Submit({static_cast<uint64_t>(step), network, rows});
  }
  std::vector<double> result;
  for (const EvalRow& row : rows) {
    const std::vector<double> base = executor.ReadRegister(row.slot, kBase);
    result.insert(result.end(), base.begin(), base.end());
    executor.FreeSlot(row.slot);
  }
  return result;
}

std::vector<float> RowRho(const Fixture& fixture, int64_t row, int num_skips) {
  const auto first = fixture.rho.begin() + row * num_skips;
  return std::vector<float>(first, first + num_skips);
}

// A plan that ends with base = D(latents; sigma).
std::shared_ptr<const SamplingPlan> DenoisePlan(double sigma, std::vector<float> rho,
                                                const Preconditioning& parametrization) {
  SolverStep step;
  step.sigma = sigma;
  step.terms.push_back({.conditioning_sigma = sigma,
                        .coefficients = parametrization.At(sigma, sigma),
                        .rho = std::move(rho)});
  step.a[kNextBase][kDenoised] = 1.0;
  step.a[kNextEval][kDenoised] = 1.0;
  auto plan = std::make_shared<SamplingPlan>();
  plan->initial.latent = 1.0;
  plan->steps.push_back(std::move(step));
  return plan;
}

absl::StatusOr<std::shared_ptr<const SamplingPlan>> HeunPlan(
    const Fixture& fixture, const std::vector<float>& rho, const Preconditioning& parametrization) {
  SamplingParams params;
  params.solver = Solver::kHeun;
  params.levels = fixture.levels;
  params.skip_tuning.depth = ExplicitDepth{std::vector<double>(rho.begin(), rho.end())};
  params.num_skips = static_cast<int>(rho.size());
  params.parametrization = parametrization;
  absl::StatusOr<SamplingPlan> plan = CompilePlan(params);
  if (!plan.ok()) return plan.status();
  return std::make_shared<const SamplingPlan>(*std::move(plan));
}

double RelativeError(const std::vector<double>& actual, const std::vector<double>& expected) {
  double difference = 0.0;
  double scale = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = std::abs(actual[i] - expected[i]);
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, d);
    scale = std::max(scale, std::abs(expected[i]));
  }
  return difference == 0.0 ? 0.0 : difference / scale;
}

}  // namespace

absl::StatusOr<std::vector<ParityError>> MeasureParity(const std::string& path, Kernels kernels) {
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  const absl::StatusOr<ModelDescription> model = ParseModelMetadata(file->metadata());
  if (!model.ok()) {
    return absl::Status(model.status().code(), absl::StrCat(path, ": ", model.status().message()));
  }
  const int num_skips = model->info.num_skips;
  const absl::StatusOr<Fixture> fixture = ReadFixture(*file, model->info);
  if (!fixture.ok()) return fixture.status();

  FirstFailure listener;
  ExecutorOptions options;
  options.kernels = kernels;
  options.max_batch = static_cast<int>(fixture->batch);
  options.num_slots = options.max_batch;
  const absl::StatusOr<std::unique_ptr<BackendExecutor>> executor = BackendExecutor::Create(
      options, std::make_unique<CpuBackend>(CpuBackend::Options{
                   .kernels = options.kernels, .deterministic = options.deterministic}));
  if (!executor.ok()) return executor.status();
  (*executor)->SetListener(&listener);
  const absl::StatusOr<NetworkId> network = (*executor)->LoadNetwork(path, "param.");
  if (!network.ok()) return network.status();

  std::vector<ParityError> errors;
  for (const bool heun : {false, true}) {
    for (const bool tuned : {false, true}) {
      std::vector<std::shared_ptr<const SamplingPlan>> plans;
      for (int64_t b = 0; b < fixture->batch; ++b) {
        const std::vector<float> rho =
            tuned ? RowRho(*fixture, b, num_skips) : std::vector<float>(num_skips, 1.0f);
        if (!heun) {
          plans.push_back(DenoisePlan(fixture->sigma[b], rho, model->info.parametrization));
          continue;
        }
        absl::StatusOr<std::shared_ptr<const SamplingPlan>> plan =
            HeunPlan(*fixture, rho, model->info.parametrization);
        if (!plan.ok()) {
          return absl::InvalidArgumentError(
              absl::StrCat(path, ": not a parity fixture: ", plan.status().message()));
        }
        plans.push_back(*std::move(plan));
      }
      const absl::StatusOr<std::vector<double>> result =
          RunPlans(**executor, *network, *fixture, plans, heun ? fixture->latents : fixture->x);
      if (!result.ok()) return result.status();
      // RunPlans waited for everything it submitted.
      if (!listener.status().ok()) return listener.status();
      const std::vector<double>& expected =
          heun ? (tuned ? fixture->heun6_skip_tuned : fixture->heun6_plain)
               : (tuned ? fixture->denoised_skip_tuned : fixture->denoised_plain);
      errors.push_back({absl::StrCat(heun ? "heun6" : "denoised", tuned ? "_skip_tuned" : "_plain"),
                        RelativeError(*result, expected)});
    }
  }
  return errors;
}

}  // namespace skipstream
