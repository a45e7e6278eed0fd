#include "server/engine/engine.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"
#include "prometheus/registry.h"

namespace skipstream {

struct Engine::UnexposedMetrics {
  prometheus::Registry registry;
  EngineMetrics metrics{registry};
};

absl::Status Engine::Options::Validate() const {
  if (failures_until_unhealthy < 1) {
    return absl::InvalidArgumentError("failures_until_unhealthy must be at least 1");
  }
  if (unhealthy_retry <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("unhealthy_retry must be positive");
  }
  if (slot_retry <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("slot_retry must be positive");
  }
  if (scheduler.ageing_per_row <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("scheduler.ageing_per_row must be positive");
  }
  if (scheduler.rows_per_priority_class < 0) {
    return absl::InvalidArgumentError("scheduler.rows_per_priority_class must not be negative");
  }
  if (max_slots < 0) return absl::InvalidArgumentError("max_slots must not be negative");
  if (max_batch < 0) return absl::InvalidArgumentError("max_batch must not be negative");
  if (scheduler.reserved_slots < 0) {
    return absl::InvalidArgumentError("scheduler.reserved_slots must not be negative");
  }
  return absl::OkStatus();
}

Engine::Engine(const Options& options, Executor& executor, const Clock& clock,
               EngineMetrics* metrics)
    : options_(options),
      num_slots_(options.max_slots == 0 ? executor.num_slots()
                                        : std::min(options.max_slots, executor.num_slots())),
      executor_(executor),
      clock_(clock),
      unexposed_metrics_(metrics == nullptr ? std::make_unique<UnexposedMetrics>() : nullptr),
      metrics_(metrics == nullptr ? unexposed_metrics_->metrics : *metrics),
      scheduler_(options.scheduler, num_slots_),
      health_(options.failures_until_unhealthy, options.unhealthy_retry) {
  metrics_.slots.Set(num_slots_);
  for (int rows : CostModel(executor.max_batch()).Buckets()) {
    metrics_.evaluation_seconds.With({absl::StrCat(rows)});
  }
}

Engine::~Engine() = default;

// --- Jobs ---

void Engine::AddJob(JobId id, GenerationJob spec) {
  const absl::Time now = clock_.Now();
  const int num_samples = static_cast<int>(spec.samples.size());
  Job& job = jobs_[id];
  job.id = id;
  job.spec = std::move(spec);
  job.accepted = now;
  job.rows_per_sample = job.spec.plan->rows();
  ++waiting_jobs_;

  Sample first;
  first.job = &job;
  const Scheduler::Entry entry = EntryOf(job, ReadyRows(first));
  const JobEstimate estimate(job.spec, entry,
                             {.num_slots = num_slots_,
                              .batches_in_flight = static_cast<int>(batches_.size()),
                              .has_other_jobs = jobs_.size() > 1});
  std::optional<absl::Duration> by_deadline;
  if (entry.deadline != absl::InfiniteFuture()) {
    const absl::Duration left = entry.deadline - now;
    if (estimate.Alone(BatchTimes::kBest) <= left) {
      by_deadline = estimate.Behind(scheduler_.AheadByDeadline(entry, num_samples));
    }
    if (const absl::Status status = estimate.CheckTimeLeft(left, by_deadline); !status.ok()) {
      FinishJob(id, status);
      return;
    }
  }
  job.images = &metrics_.images.With({job.spec.model->name()});
  job.evaluations[0] = &metrics_.evaluations.With({job.spec.model->name()});
  if (job.spec.guide) job.evaluations[1] = &metrics_.evaluations.With({job.spec.guide->name()});
  job.tenant_evaluations = &metrics_.tenant_evaluations.With({job.spec.tenant->name});

  AcceptedInfo info;
  info.requests_ahead = static_cast<int64_t>(jobs_.size()) - 1;
  info.evaluations_ahead = outstanding_rows_;
  info.estimate = estimate.Behind(scheduler_.AheadByRank(entry, num_samples));
  // It is served by rank until it is at risk.
  if (by_deadline) info.estimate = std::min(info.estimate, *by_deadline);

  for (int i = 0; i < num_samples; ++i) {
    const SampleId sample = next_sample_++;
    samples_[sample].job = &job;
    samples_[sample].index = i;
    job.open.push_back(sample);
    scheduler_.Add(sample, entry);
  }
  outstanding_rows_ += int64_t{num_samples} * job.rows_per_sample;
  if (job.spec.deadline != absl::InfiniteFuture()) deadlines_.insert({job.spec.deadline, id});
  job.spec.sink->OnAccepted(info);
}

Scheduler::Entry Engine::EntryOf(const Job& job, const Scheduler::Ready& ready) const {
  const CostModel& cost = job.spec.model->cost();
  // The samples of a job share its deadline: more of them than a batch holds take turns.
  const double turns =
      std::max(1.0, static_cast<double>(job.spec.samples.size() * ready.rows) / ready.max_batch);
  return {.ready = ready,
          .priority = job.spec.priority,
          .accepted = job.accepted,
          .remaining_rows = job.rows_per_sample,
          .tenant = job.spec.tenant,
          .deadline = job.spec.deadline,
          .time_per_row = turns * cost.BatchTime(ready.max_batch) / ready.rows,
          .device_time_per_row = cost.BatchTime(ready.max_batch) / ready.max_batch};
}

void Engine::CancelJob(JobId id) { StopJob(id, absl::CancelledError("the request was cancelled")); }

void Engine::ExtendDeadline(JobId id, absl::Time deadline) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) return;
  deadlines_.erase({it->second.spec.deadline, id});
  it->second.spec.deadline = deadline;
  if (deadline != absl::InfiniteFuture()) deadlines_.insert({deadline, id});
  for (const SampleId sample : it->second.open) scheduler_.SetDeadline(sample, deadline);
}

void Engine::CancelAll() {
  while (!jobs_.empty()) CancelJob(jobs_.begin()->first);
  UpdateGauges();
}

void Engine::StopJob(JobId id, const absl::Status& status) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) return;
  metrics_.cancelled.With({it->second.started ? "running" : "waiting"}).Increment();
  while (!it->second.open.empty()) EndSample(it->second.open.back());
  FinishJob(id, status);
}

void Engine::FinishJobIfComplete(Job& job) {
  if (!job.open.empty()) return;
  if (job.failed_samples == 0) {
    FinishJob(job.id, absl::OkStatus());
    return;
  }
  absl::Status status =
      absl::InternalError(absl::StrCat(job.failed_samples, " of ", job.spec.samples.size(),
                                       job.spec.samples.size() == 1 ? " image" : " images",
                                       " failed: ", job.first_failure.message()));
  SetReason(status, GetReason(job.first_failure));
  FinishJob(job.id, status);
}

void Engine::FinishJob(JobId id, const absl::Status& status) {
  std::shared_ptr<OutputSink> sink;
  {
    // The job's ticket and its reference to the model go before the sink hears of the end, so that
    // it finds the room it made.
    const auto job = jobs_.extract(id);
    sink = std::move(job.mapped().spec.sink);
    deadlines_.erase({job.mapped().spec.deadline, id});
    if (!job.mapped().started) --waiting_jobs_;
  }
  ++finished_jobs_;
  sink->OnFinished(status);
}

// --- Batches ---

void Engine::Step() {
  const absl::Time now = clock_.Now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    StopJob(deadlines_.begin()->second,
            absl::DeadlineExceededError("the deadline passed before the request was done"));
  }
  health_.Update(now);
  if (slot_retry_at_ <= now) slot_retry_at_ = absl::InfinitePast();
  while (static_cast<int>(batches_.size()) < executor_.max_in_flight()) {
    if (!SubmitBatch(now)) break;
  }
  UpdateGauges();
}

bool Engine::SubmitBatch(absl::Time now) {
  const int free_slots = slot_retry_at_ > now ? 0 : num_slots_ - slots_in_use_;
  const std::vector<Scheduler::Share> picked = scheduler_.Pick(now, free_slots);
  if (picked.empty()) return false;

  StepBatch batch;
  BatchInFlight in_flight;
  std::vector<Scheduler::Share> started;
  for (const Scheduler::Share& share : picked) {
    const SampleId id = share.sample;
    if (!samples_.at(id).started && !StartSample(id, now)) continue;
    started.push_back(share);
    const Sample& sample = samples_.at(id);
    const GenerationJob& spec = sample.job->spec;
    const std::vector<DenoiserTerm>& terms = spec.plan->steps[sample.next_step].terms;
    for (int term = sample.next_term; term < sample.next_term + share.rows; ++term) {
      batch.rows.push_back({.slot = *sample.slot,
                            .class_index = spec.samples[sample.index].class_index,
                            .plan = spec.plan,
                            .step = sample.next_step,
                            .term = term});
      in_flight.rows.push_back({.sample = id,
                                .ends_step = term + 1 == static_cast<int>(terms.size()),
                                .tenant_evaluations = sample.job->tenant_evaluations});
    }
    const DenoiserTerm& first = terms[sample.next_term];
    in_flight.model = ModelOf(*sample.job, first);
    in_flight.evaluations = sample.job->evaluations[first.network];
  }
  // Nobody got a slot or everybody failed to start: others may have a row.
  if (batch.rows.empty()) return true;

  batch.id = next_operation_++;
  batch.network = in_flight.model->network();
  metrics_.batch_rows.Observe(static_cast<double>(batch.rows.size()));
  batches_[batch.id] = std::move(in_flight);
  executor_.Submit(std::move(batch));
  for (const Scheduler::Share& share : started) {
    AdvancePastSubmittedRows(share.sample, share.rows);
  }
  return true;
}

bool Engine::StartSample(SampleId id, absl::Time now) {
  if (slot_retry_at_ > now) return false;
  Sample& sample = samples_.at(id);
  Job& job = *sample.job;
  const absl::StatusOr<SlotId> slot =
      executor_.AllocateSlot({.network = job.spec.model->network(),
                              .seed = job.spec.samples[sample.index].seed,
                              .plan = job.spec.plan,
                              .image = job.spec.image});
  if (absl::IsResourceExhausted(slot.status())) {
    slot_retry_at_ = now + options_.slot_retry;
    return false;
  }
  if (!slot.ok()) {
    FailSample(id, slot.status(), "SAMPLE_FAILED");
    return false;
  }
  sample.slot = *slot;
  sample.started = now;
  ++slots_in_use_;
  ++running_samples_;
  if (!job.started) --waiting_jobs_;
  job.started = true;
  metrics_.queue_seconds.Observe(absl::ToDoubleSeconds(now - job.accepted));
  return true;
}

const std::shared_ptr<const LoadedModel>& Engine::ModelOf(const Job& job,
                                                          const DenoiserTerm& term) {
  return term.network == 0 ? job.spec.model : job.spec.guide;
}

int Engine::MaxBatch(const LoadedModel& model) const {
  if (options_.max_batch == 0) return model.cost().Knee();
  return std::min(options_.max_batch, executor_.max_batch());
}

Scheduler::Ready Engine::ReadyRows(const Sample& sample) const {
  const std::vector<SolverStep>& steps = sample.job->spec.plan->steps;
  if (sample.next_step == static_cast<int>(steps.size())) return {};
  const std::vector<DenoiserTerm>& terms = steps[sample.next_step].terms;
  const LoadedModel& model = *ModelOf(*sample.job, terms[sample.next_term]);
  const auto first = terms.begin() + sample.next_term;
  const auto last = std::find_if(first, terms.end(), [&](const DenoiserTerm& term) {
    return ModelOf(*sample.job, term)->network() != model.network();
  });
  return {.network = model.network(),
          .rows = static_cast<int>(last - first),
          .max_batch = MaxBatch(model)};
}

void Engine::AdvancePastSubmittedRows(SampleId id, int rows) {
  Sample& sample = samples_.at(id);
  const GenerationJob& spec = sample.job->spec;
  const int terms = static_cast<int>(spec.plan->steps[sample.next_step].terms.size());
  sample.next_term += rows;
  const bool step_submitted = sample.next_term == terms;
  if (step_submitted) {
    sample.next_term = 0;
    ++sample.next_step;
  }
  scheduler_.RowsSubmitted(id, rows, ReadyRows(sample));
  if (!step_submitted) return;
  if (sample.next_step == spec.plan->nfe()) {
    QueueReadOut(id, sample, ReadOutKind::kFinal);
    ReleaseSlot(sample);
  } else if (spec.preview_every > 0 && sample.next_step % spec.preview_every == 0) {
    QueueReadOut(id, sample, ReadOutKind::kPreview);
  }
}

void Engine::QueueReadOut(SampleId id, const Sample& sample, ReadOutKind kind) {
  const uint64_t read_out = next_operation_++;
  read_outs_[read_out] = {id, kind, sample.next_step};
  executor_.ReadOut(read_out, *sample.slot, kind);
}

void Engine::ReleaseSlot(Sample& sample) {
  executor_.FreeSlot(*sample.slot);
  sample.slot.reset();
  --slots_in_use_;
  slot_retry_at_ = absl::InfinitePast();
}

// --- Completions ---

void Engine::OnBatchDone(const BatchResult& result) {
  const auto node = batches_.extract(result.id);
  const BatchInFlight& batch = node.mapped();
  absl::Status status = result.status;
  if (status.ok() && result.row_status.size() != batch.rows.size()) {
    status = absl::InternalError(absl::StrCat("the executor reported ", result.row_status.size(),
                                              " results for ", batch.rows.size(), " rows"));
  }
  health_.Record(status.ok(), clock_.Now());
  if (!status.ok()) {
    metrics_.executor_failures.Increment();
    for (const BatchInFlight::Row& row : batch.rows) {
      FailSample(row.sample, status, "EXECUTOR_FAILED");
    }
    return;
  }
  const int rows = static_cast<int>(batch.rows.size());
  CostModel& cost = batch.model->cost();
  cost.Record(rows, result.busy);
  batch.evaluations->Increment(rows);
  metrics_.evaluation_seconds.With({absl::StrCat(cost.BucketOf(rows))})
      .Observe(absl::ToDoubleSeconds(result.busy));
  for (int i = 0; i < rows; ++i) {
    batch.rows[i].tenant_evaluations->Increment();
    if (result.row_status[i].ok()) {
      RowDone(batch.rows[i].sample, batch.rows[i].ends_step);
    } else {
      FailSample(batch.rows[i].sample, result.row_status[i], "SAMPLE_FAILED");
    }
  }
}

void Engine::RowDone(SampleId id, bool ends_step) {
  const auto it = samples_.find(id);
  if (it == samples_.end()) return;
  Sample& sample = it->second;
  ++sample.rows_done;
  --outstanding_rows_;
  if (!ends_step) return;
  ++sample.steps_done;
  const GenerationJob& spec = sample.job->spec;
  spec.sink->OnProgress(sample.index, sample.steps_done, spec.plan->nfe());
  DeliverIfComplete(id);
}

void Engine::OnReadOut(ReadOutResult result) {
  const PendingReadOut read_out = read_outs_.extract(result.id).mapped();
  const auto it = samples_.find(read_out.sample);
  if (it == samples_.end()) return;
  if (!result.status.ok()) {
    metrics_.executor_failures.Increment();
    FailSample(read_out.sample, result.status, "EXECUTOR_FAILED");
    return;
  }
  Sample& sample = it->second;
  if (read_out.kind == ReadOutKind::kPreview) {
    sample.job->spec.sink->OnPreview(sample.index, read_out.steps_done, std::move(result.image));
    return;
  }
  sample.image = std::move(result.image);
  DeliverIfComplete(read_out.sample);
}

// The pixels count only once every row is known to be good, whichever report comes first.
void Engine::DeliverIfComplete(SampleId id) {
  Sample& sample = samples_.at(id);
  Job& job = *sample.job;
  if (!sample.image || sample.steps_done < job.spec.plan->nfe()) return;
  const SampleTimings timings = {.queued = *sample.started - job.accepted,
                                 .running = clock_.Now() - *sample.started};
  job.images->Increment();
  job.spec.sink->OnImage(sample.index, *std::move(sample.image), timings);
  EndSample(id);
  FinishJobIfComplete(job);
}

void Engine::FailSample(SampleId id, const absl::Status& cause, absl::string_view reason) {
  const auto it = samples_.find(id);
  if (it == samples_.end()) return;
  Job& job = *it->second.job;
  absl::Status status = absl::InternalError(cause.message());
  SetReason(status, reason);
  if (++job.failed_samples == 1) job.first_failure = status;
  job.spec.sink->OnSampleFailed(it->second.index, status);
  EndSample(id);
  FinishJobIfComplete(job);
}

void Engine::EndSample(SampleId id) {
  Sample& sample = samples_.at(id);
  Job& job = *sample.job;
  if (sample.slot) ReleaseSlot(sample);
  if (sample.started) --running_samples_;
  outstanding_rows_ -= job.rows_per_sample - sample.rows_done;
  scheduler_.Remove(id);
  std::erase(job.open, id);
  samples_.erase(id);
}

// --- Time and gauges ---

absl::Time Engine::NextWakeup() const {
  absl::Time wakeup = health_.NextUpdate();
  if (!deadlines_.empty()) wakeup = std::min(wakeup, deadlines_.begin()->first);
  if (slot_retry_at_ != absl::InfinitePast()) wakeup = std::min(wakeup, slot_retry_at_);
  return wakeup;
}

void Engine::UpdateGauges() {
  metrics_.waiting_requests.Set(static_cast<double>(waiting_jobs_));
  metrics_.waiting_evaluations.Set(static_cast<double>(outstanding_rows_));
  metrics_.running_samples.Set(static_cast<double>(running_samples_));
  metrics_.slots_in_use.Set(slots_in_use_);
}

}  // namespace skipstream
