#include "model/execution/cpu_executor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "model/backends/cpu/cpu_features.h"
#include "model/backends/exception_status.h"

namespace skipstream {
namespace {

using SteadyClock = std::chrono::steady_clock;

absl::Duration Since(SteadyClock::time_point start) {
  return absl::FromChrono(SteadyClock::now() - start);
}

PrecisionChoice ChoosePrecision(const ExecutorOptions& options) {
  if (options.precision) return {*options.precision, "asked for"};
  if (options.deterministic) return {Precision::kFloat32, "results are to be deterministic"};
  if (options.kernels == Kernels::kReference) {
    return {Precision::kFloat32, "the reference kernels have no other"};
  }
  return FasterPrecision(DetectCpuFeatures());
}

uint8_t ToPixel(double v) {
  return static_cast<uint8_t>(std::lround(std::clamp(v * 127.5 + 127.5, 0.0, 255.0)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuExecutor>> CpuExecutor::Create(const ExecutorOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  return std::unique_ptr<CpuExecutor>(new CpuExecutor(options));
}

CpuExecutor::CpuExecutor(const ExecutorOptions& options)
    : TorchExecutorBase(options, ChoosePrecision(options)), slots_(options.num_slots) {
  const int threads = options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // LibTorch's number of threads belongs to the thread that asks for work.
  stream_.Post([threads] { at::set_num_threads(threads); });
}

absl::StatusOr<std::unique_ptr<Network>> CpuExecutor::Load(const std::string& path,
                                                           const std::string& prefix) {
  absl::StatusOr<std::unique_ptr<Network>> network =
      Network::Load(path, prefix, {options_.kernels, precision().precision});
  const bool settled = options_.precision || precision().precision == Precision::kFloat32;
  if (settled || !absl::IsUnimplemented(network.status())) return network;
  // A network that has no such form.
  return Network::Load(path, prefix, {options_.kernels, Precision::kFloat32});
}

int64_t CpuExecutor::BatchSize(const Network& network, int64_t rows) const {
  const bool fills_up =
      options_.deterministic && network.info().form.kernels == Kernels::kReference;
  return fills_up ? options_.max_batch : rows;
}

SlotState* CpuExecutor::FindSlot(SlotId slot) {
  return slot >= 0 && slot < options_.num_slots ? &slots_[slot] : nullptr;
}

void CpuExecutor::Submit(StepBatch batch) {
  const NetworkId id = batch.network;
  PostWith(id, [this, batch = std::move(batch)](const Network* network) {
    listener_->OnBatchDone(RunBatch(batch, network));
  });
}

void CpuExecutor::ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  stream_.Post([this, id, slot, kind] { listener_->OnReadOut(RunReadOut(id, slot, kind)); });
}

std::vector<double> CpuExecutor::ReadRegister(SlotId slot, Register reg) {
  std::vector<double> values;
  stream_.Run([&] {
    const SlotRegisters& registers = slots_[slot].registers;
    if (!registers.written(reg)) return;
    const absl::Span<const double> contents = registers.Get(reg);
    values.assign(contents.begin(), contents.end());
  });
  return values;
}

absl::Duration CpuExecutor::TimeEvaluation(Network& network, int rows) {
  const NetworkInfo& info = network.info();
  const int64_t size = BatchSize(network, rows);
  const std::vector<float> rho(info.num_skips, 1.0f);
  const std::vector<DenoiserRow> conditions(size, DenoiserRow{1.0, 1.0, -1, rho});
  const at::Tensor x = at::zeros({size, info.channels, info.height, info.width}, at::kFloat);
  const SteadyClock::time_point start = SteadyClock::now();
  network.Denoise(x, conditions);
  return Since(start);
}

void CpuExecutor::InitializeSlot(SlotId slot, const NetworkInfo& info, const SlotInit& init,
                                 std::vector<double> latents) {
  Slot& state = slots_[slot];
  state.noise.emplace(init.seed);
  InitializeRegisters(init, info, std::move(latents), *state.noise, state.registers);
  state.image = init.image;
}

void CpuExecutor::ReleaseSlot(SlotId slot) {
  slots_[slot].image = nullptr;
  slots_[slot].registers = SlotRegisters();  // a network of larger images may have used it
}

BatchResult CpuExecutor::RunBatch(const StepBatch& batch, const Network* network) {
  const SteadyClock::time_point start = SteadyClock::now();
  BatchResult result;
  result.id = batch.id;
  result.status = Check(batch, network);
  if (result.status.ok()) {
    try {
      Evaluate(batch, *network, &result.row_status);
    } catch (...) {
      result.status = StatusOfCurrentException();
      result.row_status.clear();
    }
  }
  if (!result.status.ok()) FailSamples(batch, result.status);
  result.busy = Since(start);
  return result;
}

void CpuExecutor::Evaluate(const StepBatch& batch, const Network& network,
                           std::vector<absl::Status>* row_status) {
  const NetworkInfo& info = network.info();
  const int64_t elements = int64_t{info.channels} * info.height * info.width;
  const int64_t rows = BatchSize(network, static_cast<int64_t>(batch.rows.size()));
  const std::vector<float> neutral_rho(info.num_skips, 1.0f);
  // Rows that only fill the batch keep these.
  std::vector<DenoiserRow> conditions(rows, DenoiserRow{1.0, 1.0, -1, neutral_rho});
  at::Tensor x = at::zeros({rows, info.channels, info.height, info.width}, at::kFloat);
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const EvalRow& row = batch.rows[i];
    if (!slots_[row.slot].status.ok()) continue;
    const SolverStep& step = row.plan->steps[row.step];
    const DenoiserTerm& term = step.terms[row.term];
    conditions[i] = {step.sigma, term.conditioning_sigma, term.conditional ? row.class_index : -1,
                     term.rho};
    const absl::Span<const double> eval = slots_[row.slot].registers.Get(kEval);
    float* out = x.mutable_data_ptr<float>() + static_cast<int64_t>(i) * elements;
    for (int64_t k = 0; k < elements; ++k) out[k] = static_cast<float>(eval[k]);
  }
  const at::Tensor denoised = network.Denoise(x, conditions);
  const float* data = denoised.const_data_ptr<float>();
  row_status->reserve(batch.rows.size());
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    const absl::Span<const float> d(data + static_cast<int64_t>(i) * elements, elements);
    row_status->push_back(FinishRow(batch.rows[i], d));
  }
}

absl::Status CpuExecutor::FinishRow(const EvalRow& row, absl::Span<const float> denoised) {
  Slot& slot = slots_[row.slot];
  if (!slot.status.ok()) return slot.status;
  const SolverStep& step = row.plan->steps[row.step];
  if (!slot.registers.AddDenoised(row.term == 0, step.terms[row.term].weight, denoised)) {
    slot.status =
        absl::InternalError(absl::StrCat("the network's output is not finite at step ", row.step));
    return slot.status;
  }
  slot.terms_done = row.term + 1;
  if (slot.terms_done < static_cast<int>(step.terms.size())) return absl::OkStatus();
  slot.terms_done = 0;
  if (slot.image != nullptr && !slot.image->mask.empty()) {
    slot.registers.MaskDenoised(slot.image->mask, slot.image->pixels);
  }
  std::vector<double> noise;
  if (step.uses_noise) noise = slot.noise->Draw(slot.channels, slot.height, slot.width);
  slot.status = slot.registers.Apply(step, noise);
  return slot.status;
}

ReadOutResult CpuExecutor::RunReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  ReadOutResult result;
  result.id = id;
  const SlotState* found = FindSlot(slot);
  if (found == nullptr || !found->live) {
    result.status = absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not allocated"));
    return result;
  }
  const Slot& state = slots_[slot];
  const Register reg = kind == ReadOutKind::kFinal ? kBase : kDenoised;
  if (!state.status.ok()) {
    result.status = state.status;
    return result;
  }
  if (!state.registers.written(reg)) {
    result.status = absl::FailedPreconditionError("the sample has not been denoised yet");
    return result;
  }
  const absl::Span<const double> values = state.registers.Get(reg);
  try {
    result.image = {state.height, state.width, state.channels, {}};
    result.image.data.resize(values.size());
  } catch (...) {
    result.status = StatusOfCurrentException();
    return result;
  }
  const size_t plane = static_cast<size_t>(state.height) * state.width;
  for (size_t p = 0; p < plane; ++p) {
    for (int c = 0; c < state.channels; ++c) {
      result.image.data[p * state.channels + c] = ToPixel(values[c * plane + p]);
    }
  }
  return result;
}

}  // namespace skipstream
