// Describes a job for the engine, and the sink that receives its results.
#ifndef SKIPSTREAM_SERVER_ENGINE_GENERATION_JOB_H_
#define SKIPSTREAM_SERVER_ENGINE_GENERATION_JOB_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/diffusion/solver_step.h"
#include "model/executor.h"
#include "server/engine/admission.h"
#include "server/engine/model_registry.h"
#include "server/engine/tenant.h"

namespace skipstream {

using JobId = uint64_t;

enum class Priority { kLow, kNormal, kHigh };

struct AcceptedInfo {
  int64_t requests_ahead = 0;     // accepted earlier and not finished
  int64_t evaluations_ahead = 0;  // rows that those still need
  absl::Duration estimate;        // until the last image of this job, by the cost model
};

struct SampleTimings {
  absl::Duration queued;   // accepted until its slot was allocated
  absl::Duration running;  // slot allocated until its pixels were read out
};

// Receives the results of one job. Called on the engine's thread, in the order
//   OnAccepted, then any of OnProgress / OnPreview / OnImage / OnSampleFailed, then OnFinished,
// or OnFinished alone for a job that is refused, so it must not block. `sample` is the index into
// GenerationJob::samples. Every sample that is not cut short by OnFinished(error) ends in OnImage
// or OnSampleFailed exactly once. Evaluations of a sample are counted as users count them (NFE: a
// guided evaluation counts once).
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void OnAccepted(const AcceptedInfo& info) = 0;
  virtual void OnProgress(int sample, int evaluations_done, int evaluations_total) = 0;
  virtual void OnPreview(int sample, int evaluations_done, Image pixels) = 0;
  virtual void OnImage(int sample, Image pixels, const SampleTimings& timings) = 0;
  virtual void OnSampleFailed(int sample, const absl::Status& status) = 0;
  // Comes exactly once, last. OK when every sample was delivered; INTERNAL when some failed (the
  // others were delivered); CANCELLED or DEADLINE_EXCEEDED when the job was stopped;
  // RESOURCE_EXHAUSTED when it was refused.
  virtual void OnFinished(const absl::Status& status) = 0;
};

struct SampleSpec {
  uint64_t seed = 0;
  int class_index = -1;  // -1: none
};

struct GenerationJob {
  std::shared_ptr<const LoadedModel> model;
  // The second network of plans with autoguidance, of the same shape; null for all others.
  std::shared_ptr<const LoadedModel> guide = nullptr;
  std::shared_ptr<const SamplingPlan> plan;  // the same for all samples
  // Init image that the samples start from or keep parts of; null if the plan reads no image and
  // there is no mask.
  std::shared_ptr<const InitImage> image = nullptr;
  std::vector<SampleSpec> samples;  // at least one
  Priority priority = Priority::kNormal;
  int preview_every = 0;  // evaluations between previews; 0: none
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<const Tenant> tenant = std::make_shared<const Tenant>();
  AdmissionTicket ticket;
  std::shared_ptr<OutputSink> sink;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_GENERATION_JOB_H_
