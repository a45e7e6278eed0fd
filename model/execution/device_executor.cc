#include "model/execution/device_executor.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>
#include <variant>

#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "c10/core/InferenceMode.h"
#include "c10/util/Exception.h"
#include "model/backends/device_unet.h"
#include "model/backends/exception_status.h"
#include "model/execution/network.h"
#include "model/families/edm_unet/model_file.h"

namespace skipstream {
namespace {

// Rounded up, so that whatever follows is aligned for the device.
int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

Extent ShapeOf(const NetworkInfo& info) { return {info.channels, info.height, info.width}; }
Extent ShapeOf(const SlotState& slot) { return {slot.channels, slot.height, slot.width}; }

template <typename T>
const T* At(const at::Tensor& bytes, int64_t offset) {
  return reinterpret_cast<const T*>(bytes.const_data_ptr<uint8_t>() + offset);
}

absl::Status FailureStatus(int32_t failures, int step) {
  if (failures & kDenoisedNotFinite) {
    return absl::InternalError(absl::StrCat("the network's output is not finite at step ", step));
  }
  return absl::InternalError("the solver's state is not finite");
}

Precision ChoosePrecision(const ExecutorOptions& options) {
  if (options.precision) return *options.precision;
  return options.deterministic ? Precision::kFloat32 : Precision::kBFloat16;
}

}  // namespace

DeviceExecutor::InputLayout::InputLayout(int rows, int num_skips)
    : updates(Aligned(rows * static_cast<int64_t>(sizeof(RowDescriptor)))),
      rho(updates + Aligned(rows * static_cast<int64_t>(sizeof(SlotUpdate)))),
      bytes(rho + Aligned(int64_t{rows} * num_skips * static_cast<int64_t>(sizeof(float)))) {}

absl::StatusOr<std::unique_ptr<DeviceExecutor>> DeviceExecutor::Create(
    const ExecutorOptions& options, std::unique_ptr<DeviceBackend> backend) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (options.kernels == Kernels::kReference) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernels: the reference kernels run on the CPU, not on ", backend->name()));
  }
  return std::unique_ptr<DeviceExecutor>(new DeviceExecutor(options, std::move(backend)));
}

DeviceExecutor::DeviceExecutor(const ExecutorOptions& options,
                               std::unique_ptr<DeviceBackend> backend)
    : TorchExecutorBase(options),
      precision_(ChoosePrecision(options)),
      backend_(std::move(backend)),
      slots_(options.num_slots) {
  for (OperationStream* stream : {&stream_, &reports_}) {
    stream->Post([this] {
      thread_local const c10::InferenceMode inference;  // until the thread ends
      backend_->Enter();
    });
  }
}

DeviceExecutor::~DeviceExecutor() {
  stream_.Stop();
  reports_.Stop();
}

absl::StatusOr<std::unique_ptr<Network>> DeviceExecutor::Load(const std::string& path,
                                                              const std::string& prefix) {
  const auto build = [this](const ModelDescription& model, ParameterSource& source,
                            NetworkForm& form) -> absl::StatusOr<std::unique_ptr<UNet>> {
    form = {Kernels::kFused, precision_};
    return std::visit(
        [&](const auto& family) -> absl::StatusOr<std::unique_ptr<UNet>> {
          if (absl::Status status = CheckPlain(family); !status.ok()) return status;
          return std::make_unique<DeviceUNet>(family, model.out_channels(), precision_, source,
                                              *backend_);
        },
        model.config);
  };
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Load(path, prefix, build);
  if (!network.ok()) return network.status();
  try {
    RunThrowing([&] { static_cast<DeviceUNet&>((*network)->unet()).MoveToDevice(); });
    PrepareGraphs(**network);
  } catch (...) {
    stream_.Run([&] { DropGraphs(**network); });
    throw;
  }
  return network;
}

void DeviceExecutor::RunThrowing(const std::function<void()>& operation) {
  std::exception_ptr exception;
  stream_.Run([&] {
    try {
      operation();
    } catch (...) {
      exception = std::current_exception();
    }
  });
  if (exception != nullptr) std::rethrow_exception(exception);
}

void DeviceExecutor::PrepareGraphs(Network& network) {
  // From the largest one down: each finds the memory of those before it.
  for (int rows = options_.max_batch; rows > 0;) {
    RunThrowing([&] { rows = PrepareGraph(network, EvaluatorOf(network), rows); });
    if (options_.deterministic) return;
    rows = SmallerBucket(rows);
  }
}

SlotState* DeviceExecutor::FindSlot(SlotId slot) {
  return slot >= 0 && slot < options_.num_slots ? &slots_[slot] : nullptr;
}

at::Tensor DeviceExecutor::Upload(const void* data, int64_t bytes,
                                  std::vector<at::Tensor>& staged) {
  const at::Tensor host = staged.emplace_back(backend_->HostBuffer(bytes));
  std::memcpy(host.mutable_data_ptr(), data, bytes);
  at::Tensor uploaded = at::empty({bytes}, at::TensorOptions(backend_->device()).dtype(at::kByte));
  backend_->Copy(uploaded, host);
  return uploaded;
}

void DeviceExecutor::InitializeSlot(SlotId slot, const NetworkInfo& info, const SlotInit& init,
                                    std::vector<double> latents) {
  Slot& state = slots_[slot];
  state.outcome = std::make_shared<Outcome>();
  state.written.Reset();
  state.image = state.mask = at::Tensor();
  state.noise.emplace(init.seed);
  SlotRegisters host;
  InitializeRegisters(init, info, std::move(latents), *state.noise, host);

  const int64_t elements = ShapeOf(info).elements();
  if (!state.registers.defined() || state.registers.size(1) != elements) {
    state.registers = at::empty({kSlotPlanes, elements},
                                at::TensorOptions(backend_->device()).dtype(at::kDouble));
  }
  std::vector<at::Tensor> staged;
  const at::Tensor base =
      Upload(host.Get(kBase).data(), elements * static_cast<int64_t>(sizeof(double)), staged)
          .view(at::kDouble);
  backend_->Copy(state.registers.select(0, kBase), base);
  backend_->Copy(state.registers.select(0, kEval), base);
  if (init.image != nullptr && !init.image->mask.empty()) {
    const auto upload = [&](const std::vector<float>& values) {
      return Upload(values.data(), static_cast<int64_t>(values.size() * sizeof(float)), staged);
    };
    state.image = upload(init.image->pixels);
    state.mask = upload(init.image->mask);
  }
  // The staged buffers must stay until the device has read them.
  const std::shared_ptr<DeviceMark> mark = backend_->Mark();
  reports_.Post([mark, staged = std::move(staged), outcome = state.outcome] {
    try {
      mark->Wait();
    } catch (...) {
      outcome->status = StatusOfCurrentException();
    }
  });
}

void DeviceExecutor::ReleaseSlot(SlotId slot) {
  slots_[slot].image = slots_[slot].mask = at::Tensor();
}

void DeviceExecutor::Submit(StepBatch batch) {
  const NetworkId id = batch.network;
  PostWith(id, [this, batch = std::move(batch)](Network* network) {
    const std::shared_ptr<Pending> pending = Queue(batch, network);
    reports_.Post([this, pending] { listener_->OnBatchDone(Finish(*pending)); });
  });
}

std::shared_ptr<DeviceExecutor::Pending> DeviceExecutor::Queue(const StepBatch& batch,
                                                               Network* network) {
  auto pending = std::make_shared<Pending>();
  pending->batch = batch;
  pending->status = Check(pending->batch, network);
  if (!pending->status.ok()) {
    FailSamples(pending->batch, pending->status);
    return pending;
  }
  const auto attempt = [&](const auto& action) {
    try {
      action();
    } catch (...) {
      if (pending->status.ok()) pending->status = StatusOfCurrentException();
    }
  };
  attempt([&] { QueueRows(*network, *pending); });
  // A batch that failed halfway gets an end mark as well: the device may be reading its staged
  // buffers.
  attempt([&] { pending->end = backend_->Mark(); });
  if (!pending->status.ok()) FailSamples(pending->batch, pending->status);
  return pending;
}

void DeviceExecutor::QueueRows(Network& network, Pending& pending) {
  const NetworkInfo& info = network.info();
  std::vector<PlacedRow> rows;
  for (size_t i = 0; i < pending.batch.rows.size(); ++i) {
    const EvalRow& row = pending.batch.rows[i];
    Slot& slot = slots_[row.slot];
    PlacedRow placed{&row, i};
    if (slot.status.ok()) slot.status = PrepareRow(row, slot, placed, pending.staged);
    if (slot.status.ok()) rows.push_back(placed);
    pending.row_status.push_back(slot.status);
    pending.outcomes.push_back(slot.outcome);
  }
  GroupBySlot(rows);

  Evaluator& evaluator = EvaluatorOf(network);
  pending.begin = backend_->Mark();
  const absl::Span<const PlacedRow> all(rows);
  for (size_t done = 0; done < rows.size();) {
    const int size = PrepareGraph(network, evaluator, BucketOf(evaluator, rows.size() - done));
    const absl::Span<const PlacedRow> part = all.subspan(done, size);
    done += part.size();
    const DeviceBatch program =
        MakeDeviceBatch(part, size, ShapeOf(info), info.num_skips, network.preconditioning());
    Evaluation& evaluation = pending.evaluations.emplace_back();
    evaluation.rows.assign(part.begin(), part.end());
    for (size_t u = 0; u < program.num_updates; ++u) {
      evaluation.update_of.insert(evaluation.update_of.end(), program.updates[u].num_rows, u);
    }

    const InputLayout layout(size, info.num_skips);
    const at::Tensor host = pending.staged.emplace_back(backend_->HostBuffer(layout.bytes));
    auto* const to = host.mutable_data_ptr<uint8_t>();
    std::memcpy(to, program.rows.data(), program.rows.size() * sizeof(RowDescriptor));
    std::memcpy(to + layout.updates, program.updates.data(),
                program.updates.size() * sizeof(SlotUpdate));
    std::memcpy(to + layout.rho, program.rho.data(), program.rho.size() * sizeof(float));
    backend_->Copy(evaluator.inputs.narrow(0, 0, layout.bytes), host);
    evaluator.graphs.at(size)->Replay();
    evaluation.failures =
        backend_->HostBuffer(size * static_cast<int64_t>(sizeof(int32_t))).view(at::kInt);
    backend_->Copy(evaluation.failures, evaluator.failures.narrow(0, 0, size));
  }
}

absl::Status DeviceExecutor::PrepareRow(const EvalRow& row, Slot& slot, PlacedRow& placed,
                                        std::vector<at::Tensor>& staged) {
  placed.registers = slot.registers.mutable_data_ptr<double>();
  if (slot.mask.defined()) {
    placed.image = At<float>(slot.image, 0);
    placed.mask = At<float>(slot.mask, 0);
  }
  const SolverStep& step = row.plan->steps[row.step];
  slot.terms_done = row.term + 1;
  if (slot.terms_done < static_cast<int>(step.terms.size())) return absl::OkStatus();
  slot.terms_done = 0;
  if (step.uses_noise) {
    const std::vector<double> drawn = slot.noise->Draw(slot.channels, slot.height, slot.width);
    const std::vector<float> noise(drawn.begin(), drawn.end());  // exact: they were float32
    const at::Tensor& uploaded = staged.emplace_back(
        Upload(noise.data(), static_cast<int64_t>(noise.size() * sizeof(float)), staged));
    placed.noise = At<float>(uploaded, 0);
  }
  return slot.written.Apply(step);
}

int DeviceExecutor::BucketOf(const Evaluator& evaluator, size_t rows) const {
  return options_.deterministic
             ? evaluator.largest
             : BucketFor(
                   static_cast<int>(std::min<size_t>(rows, static_cast<size_t>(evaluator.largest))),
                   evaluator.largest);
}

DeviceExecutor::Evaluator& DeviceExecutor::EvaluatorOf(Network& network) {
  const auto [it, fresh] = evaluators_.try_emplace(&network);
  Evaluator& evaluator = it->second;
  if (!fresh && evaluator.failures.defined()) return evaluator;
  const NetworkInfo& info = network.info();
  const int rows = options_.max_batch;
  const auto zeros = [&](at::IntArrayRef shape, at::ScalarType type) {
    return at::zeros(shape, at::TensorOptions(backend_->device()).dtype(type));
  };
  evaluator.largest = rows;
  evaluator.inputs = zeros({InputLayout(rows, info.num_skips).bytes}, at::kByte);
  evaluator.x = zeros({rows, info.height, info.width, info.channels}, at::kFloat);
  evaluator.c_noise = zeros({rows}, at::kFloat);
  if (info.num_classes > 0) evaluator.labels = zeros({rows, info.num_classes}, at::kFloat);
  evaluator.failures = zeros({rows}, at::kInt);
  return evaluator;
}

int DeviceExecutor::PrepareGraph(Network& network, Evaluator& evaluator, int rows) {
  while (!evaluator.graphs.contains(rows)) {
    try {
      Capture(network, evaluator, rows);
    } catch (const c10::OutOfMemoryError&) {
      backend_->ReleaseCache();
      // One that is there already, if it is large enough; else a smaller one.
      const auto larger = evaluator.graphs.lower_bound(rows);
      if (larger != evaluator.graphs.end()) return larger->first;
      if (rows == 1) throw;
      rows = SmallerBucket(rows);
      evaluator.largest = rows;
    }
  }
  return rows;
}

void DeviceExecutor::Capture(Network& network, Evaluator& evaluator, int rows) {
  const InputLayout layout(rows, network.info().num_skips);
  evaluator.inputs.zero_();  // no rows, so that recording changes no slot
  // A backend may keep it as long as the graph.
  const auto body = [this, &network, &evaluator, rows, layout] {
    const NetworkInfo& info = network.info();
    const RowTask task = {At<RowDescriptor>(evaluator.inputs, 0),
                          At<SlotUpdate>(evaluator.inputs, layout.updates), rows, ShapeOf(info)};
    const auto of_rows = [&](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.narrow(0, 0, rows) : tensor;
    };
    const at::Tensor x = of_rows(evaluator.x);
    const at::Tensor c_noise = of_rows(evaluator.c_noise);
    const at::Tensor labels = of_rows(evaluator.labels);
    const at::Tensor rho =
        evaluator.inputs
            .narrow(0, layout.rho,
                    int64_t{rows} * info.num_skips * static_cast<int64_t>(sizeof(float)))
            .view(at::kFloat)
            .view({rows, info.num_skips});
    backend_->Gather(task, x, c_noise, labels);
    const at::Tensor f = network.unet().Forward(x.permute({0, 3, 1, 2}), c_noise, labels, rho);
    backend_->Update(task, f.permute({0, 2, 3, 1}).contiguous(), of_rows(evaluator.failures));
  };
  evaluator.graphs[rows] = backend_->Capture(body);
}

absl::Duration DeviceExecutor::TimeEvaluation(Network& network, int rows) {
  Evaluator& evaluator = EvaluatorOf(network);
  std::vector<int> sizes;
  for (int done = 0; done < rows;) {
    sizes.push_back(PrepareGraph(network, evaluator, BucketOf(evaluator, rows - done)));
    done += sizes.back();
  }
  evaluator.inputs.zero_();
  const std::unique_ptr<DeviceMark> begin = backend_->Mark();
  for (const int size : sizes) evaluator.graphs.at(size)->Replay();
  const std::unique_ptr<DeviceMark> end = backend_->Mark();
  end->Wait();
  return end->Since(*begin);
}

void DeviceExecutor::ForgetNetwork(const std::shared_ptr<Network>& network) {
  DropGraphs(*network);
}

void DeviceExecutor::DropGraphs(const Network& network) {
  const auto dropped = evaluators_.extract(&network);
  if (dropped.empty()) return;
  try {
    backend_->Mark()->Wait();
  } catch (...) {
    return;  // the thread that queued the evaluations reports them as failed
  }
}

BatchResult DeviceExecutor::Finish(Pending& pending) {
  BatchResult result;
  result.id = pending.batch.id;
  if (pending.end != nullptr) {
    try {
      pending.end->Wait();
      if (pending.begin != nullptr) result.busy = pending.end->Since(*pending.begin);
    } catch (...) {
      if (pending.status.ok()) pending.status = StatusOfCurrentException();
    }
  }
  result.status = pending.status;
  if (!pending.status.ok()) {
    for (const std::shared_ptr<Outcome>& outcome : pending.outcomes) {
      if (outcome->status.ok()) outcome->status = pending.status;
    }
    return result;
  }
  for (const Evaluation& evaluation : pending.evaluations) {
    const int32_t* const failures = evaluation.failures.const_data_ptr<int32_t>();
    for (size_t i = 0; i < evaluation.rows.size(); ++i) {
      const PlacedRow& row = evaluation.rows[i];
      const int32_t seen = failures[evaluation.update_of[i]];
      absl::Status& status = pending.outcomes[row.index]->status;
      if (seen != 0 && status.ok()) status = FailureStatus(seen, row.row->step);
    }
  }
  for (size_t i = 0; i < pending.outcomes.size(); ++i) {
    const absl::Status& of_sample = pending.outcomes[i]->status;
    result.row_status.push_back(of_sample.ok() ? pending.row_status[i] : of_sample);
  }
  return result;
}

void DeviceExecutor::ReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  stream_.Post([this, id, slot, kind] { QueueReadOut(id, slot, kind); });
}

void DeviceExecutor::QueueReadOut(uint64_t id, SlotId slot, ReadOutKind kind) {
  struct Reading {
    ReadOutResult result;
    std::shared_ptr<Outcome> outcome;
    at::Tensor device_pixels;
    at::Tensor pixels;  // on the host, once the device has been there
    std::unique_ptr<DeviceMark> mark;
  };
  const auto reading = std::make_shared<Reading>();
  ReadOutResult& result = reading->result;
  result.id = id;
  const SlotState* const found = FindSlot(slot);
  const Register reg = kind == ReadOutKind::kFinal ? kBase : kDenoised;
  if (found == nullptr || !found->live) {
    result.status = absl::InvalidArgumentError(absl::StrCat("slot ", slot, " is not allocated"));
  } else if (!found->status.ok()) {
    result.status = found->status;
  } else if (!slots_[slot].written.Has(reg)) {
    result.status = absl::FailedPreconditionError("the sample has not been denoised yet");
  } else {
    const Slot& state = slots_[slot];
    try {
      const Extent shape = ShapeOf(state);
      result.image = {state.height, state.width, state.channels, {}};
      reading->device_pixels = backend_->ToImage(state.registers.select(0, reg), shape);
      reading->pixels = backend_->HostBuffer(shape.elements());
      backend_->Copy(reading->pixels, reading->device_pixels);
      reading->mark = backend_->Mark();
      reading->outcome = state.outcome;
    } catch (...) {
      result.status = StatusOfCurrentException();
    }
  }
  reports_.Post([this, reading] {
    ReadOutResult& done = reading->result;
    if (done.status.ok()) {
      try {
        reading->mark->Wait();
        done.status = reading->outcome->status;
        const auto* const data = reading->pixels.const_data_ptr<uint8_t>();
        done.image.data.assign(data, data + reading->pixels.numel());
      } catch (...) {
        done.status = StatusOfCurrentException();
      }
    }
    if (!done.status.ok()) done.image = {};
    listener_->OnReadOut(std::move(done));
  });
}

std::vector<double> DeviceExecutor::ReadRegister(SlotId slot, Register reg) {
  std::vector<double> values;
  stream_.Run([&] {
    const Slot& state = slots_[slot];
    if (!state.written.Has(reg)) return;
    const at::Tensor contents = state.registers.select(0, reg).cpu();
    const auto* const data = contents.const_data_ptr<double>();
    values.assign(data, data + contents.numel());
  });
  return values;
}

}  // namespace skipstream
