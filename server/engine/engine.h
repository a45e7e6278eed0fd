// Batches the samples of all accepted jobs, one row per sample and denoiser term, and hands the
// results to the jobs' sinks.
#ifndef SKIPSTREAM_SERVER_ENGINE_ENGINE_H_
#define SKIPSTREAM_SERVER_ENGINE_ENGINE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "model/executor.h"
#include "prometheus/counter.h"
#include "server/engine/engine_health.h"
#include "server/engine/generation_job.h"
#include "server/engine/job_estimate.h"
#include "server/engine/scheduler.h"
#include "server/metrics/metrics.h"

namespace skipstream {

// Turns jobs into batches. Single-threaded and driven by its owner, which passes in jobs,
// cancellations and the executor's completions, and then calls Step(). Nothing blocks and nothing
// happens on its own, so a test drives it step by step; EngineThread is the thread around it.
//
// A sample waits until the batch that takes its first row gives it a slot. It contributes to a
// batch one evaluation at most (two rows while it is guided), in the order of its plan. Behind its
// last row the final read-out is queued and the slot freed at the same time (the executor is one
// stream). So a waiting sample can take the slot at once. The sample ends when the pixels arrive.
// As a plan is known in advance, the next row is submitted before the former has completed whenever
// the executor takes several batches in flight.
//
// A sample that has ended early (cancelled, expired, failed) is forgotten at once and its slot
// freed; completions of its rows still in flight are dropped.
//
// A job whose deadline cannot be met, given the cost model and the work ahead of it, is refused
// when it comes: RESOURCE_EXHAUSTED, reason kDeadlineUnreachable. It has RetryAfter unless the
// deadline could not be met on an idle server either.
//
// Sinks and the health callback are called from inside the methods and must not call back.
class Engine {
 public:
  struct Options {
    // Rows per batch, at most the executor's max_batch(); 0: for each network the knee of its cost
    // model.
    int max_batch = 0;
    // Samples that hold a slot at a time, at most the executor's num_slots(); 0: all slots.
    int max_slots = 0;
    // Failed batches in a row that make the engine unhealthy. At least 1.
    int failures_until_unhealthy = 3;
    // An unhealthy engine counts as healthy again this long after its last failed batch, so that
    // traffic can try it; one more failure makes it unhealthy again at once. Positive.
    absl::Duration unhealthy_retry = absl::Seconds(10);
    // When the executor has no slot although this engine holds fewer than num_slots(), it is asked
    // again after this time, or as soon as a slot is freed. Positive.
    absl::Duration slot_retry = absl::Milliseconds(100);
    // Order of the rows.
    Scheduler::Options scheduler = {};

    // Returns InvalidArgument naming the first field out of range, or OK.
    absl::Status Validate() const;
  };

  // `options` must be valid. Everything passed in outlives the engine; `metrics` may be null. The
  // owner forwards the executor's completions.
  Engine(const Options& options, Executor& executor, const Clock& clock, EngineMetrics* metrics);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Takes a job under an id never used before. Its sink gets OnAccepted now, or OnFinished if the
  // job is refused.
  void AddJob(JobId id, GenerationJob spec);

  // Ends a job with CANCELLED; unknown ids are ignored.
  void CancelJob(JobId id);
  void CancelAll();

  // Moves a job's deadline; unknown ids are ignored.
  void ExtendDeadline(JobId id, absl::Time deadline);

  void OnBatchDone(const BatchResult& result);
  void OnReadOut(ReadOutResult result);

  // Ends the jobs that are past their deadline, then submits batches while the executor wants more
  // in flight.
  void Step();

  // Returns the time at which Step() next has something to do without an event: the earliest
  // deadline, health retry or slot retry. InfiniteFuture if there is none.
  absl::Time NextWakeup() const;

  bool healthy() const { return health_.healthy(); }
  void SetHealthCallback(std::function<void(bool)> on_change) {
    health_.SetCallback(std::move(on_change));
  }

  int64_t finished_jobs() const { return finished_jobs_; }  // ended in any way
  // Returns true when the executor has reported everything that was submitted.
  bool executor_idle() const { return batches_.empty() && read_outs_.empty(); }

 private:
  struct Job {
    JobId id = 0;
    GenerationJob spec;
    absl::Time accepted;
    int rows_per_sample = 0;
    std::vector<SampleId> open;  // samples that have not ended
    bool started = false;        // some sample has had a slot
    int failed_samples = 0;
    absl::Status first_failure;
    prometheus::Counter* images = nullptr;
    // Counters of the model and of the guide, by DenoiserTerm::network.
    std::array<prometheus::Counter*, 2> evaluations{};
    prometheus::Counter* tenant_evaluations = nullptr;
  };
  struct Sample {
    Job* job = nullptr;
    int index = 0;                      // in job->spec.samples
    std::optional<SlotId> slot;         // from the first row submitted to the last
    std::optional<absl::Time> started;  // when it got its slot
    int next_step = 0;                  // of the first row not yet submitted
    int next_term = 0;
    int rows_done = 0;
    int steps_done = 0;
    std::optional<Image> image;  // set when it has been read out
  };
  struct BatchInFlight {
    struct Row {
      SampleId sample = 0;
      bool ends_step = false;
      prometheus::Counter* tenant_evaluations = nullptr;
    };
    std::vector<Row> rows;
    prometheus::Counter* evaluations = nullptr;
    std::shared_ptr<const LoadedModel> model;  // model of the batch's network
  };
  struct PendingReadOut {
    SampleId sample = 0;
    ReadOutKind kind = ReadOutKind::kFinal;
    int steps_done = 0;  // evaluations that a preview shows
  };

  // Returns false if nothing can run.
  bool SubmitBatch(absl::Time now);
  // Allocates the sample's slot. Returns false if there is none or the sample failed (it is gone
  // then).
  bool StartSample(SampleId id, absl::Time now);
  static const std::shared_ptr<const LoadedModel>& ModelOf(const Job& job,
                                                           const DenoiserTerm& term);
  int MaxBatch(const LoadedModel& model) const;
  // Returns the scheduler's entry of a sample of the job.
  Scheduler::Entry EntryOf(const Job& job, const Scheduler::Ready& ready) const;
  // Returns the rows of the sample's next step that can go into one batch: consecutive terms of one
  // network.
  Scheduler::Ready ReadyRows(const Sample& sample) const;
  // Advances past the rows just submitted and queues the read-out that belongs there.
  void AdvancePastSubmittedRows(SampleId id, int rows);
  void QueueReadOut(SampleId id, const Sample& sample, ReadOutKind kind);
  void ReleaseSlot(Sample& sample);

  void RowDone(SampleId id, bool ends_step);
  void DeliverIfComplete(SampleId id);
  void FailSample(SampleId id, const absl::Status& cause, absl::string_view reason);
  void EndSample(SampleId id);
  void FinishJobIfComplete(Job& job);
  // Ends a job with `status` before its samples are done.
  void StopJob(JobId id, const absl::Status& status);
  void FinishJob(JobId id, const absl::Status& status);

  void UpdateGauges();

  const Options options_;
  const int num_slots_;
  Executor& executor_;
  const Clock& clock_;
  struct UnexposedMetrics;  // stands in when the owner gave none
  std::unique_ptr<UnexposedMetrics> unexposed_metrics_;
  EngineMetrics& metrics_;
  Scheduler scheduler_;
  EngineHealth health_;

  std::unordered_map<JobId, Job> jobs_;
  std::unordered_map<SampleId, Sample> samples_;            // those that have not ended
  std::unordered_map<uint64_t, BatchInFlight> batches_;     // by batch id
  std::unordered_map<uint64_t, PendingReadOut> read_outs_;  // by read-out id
  std::set<std::pair<absl::Time, JobId>> deadlines_;        // finite ones
  SampleId next_sample_ = 1;
  uint64_t next_operation_ = 1;  // ids of batches and read-outs
  int slots_in_use_ = 0;
  int64_t waiting_jobs_ = 0;      // not started
  int64_t running_samples_ = 0;   // started, not ended
  int64_t outstanding_rows_ = 0;  // of samples that have not ended, not yet done
  int64_t finished_jobs_ = 0;
  // While in the future, the executor is not asked for slots; InfinitePast: it may be asked.
  absl::Time slot_retry_at_ = absl::InfinitePast();
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_ENGINE_H_
