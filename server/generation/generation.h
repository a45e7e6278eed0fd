// Runs one accepted request for all its subscribers.
#ifndef SKIPSTREAM_SERVER_GENERATION_GENERATION_H_
#define SKIPSTREAM_SERVER_GENERATION_GENERATION_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/image/image_encoder.h"
#include "server/engine/admission.h"
#include "server/engine/generation_job.h"
#include "server/engine/tenant.h"
#include "server/generation/event_outbox.h"
#include "server/generation/generate_environment.h"
#include "server/generation/idempotency_key.h"
#include "server/generation/subscriber.h"
#include "server/request/request_resolver.h"

namespace skipstream {

// Receives the engine's results of one request. Encodes each image once, on the pool, and publishes
// the same events to every subscriber. With an IdempotencyKey it also keeps the published events,
// up to the bound of one subscriber, so that calls with that key can join at any time. A generation
// that grows beyond the bound can no longer be joined.
//
// It lives while it has subscribers. When the last one has left, the job is taken off the engine
// and the key forgotten, so that a retry starts anew. The job's deadline is the latest one of all
// subscribers that have joined.
//
// Thread-safe. Locks are taken in the order Generation, then IdempotencyCache, Subscriber or the
// engine's inbox; none of those calls back while it holds its own.
class Generation final : public OutputSink, public std::enable_shared_from_this<Generation> {
 public:
  // `tenant` owns the request. `key` is its key in the environment's IdempotencyCache; nullopt: no
  // other call can join. `request_id` is the id that `accepted` reports.
  Generation(std::shared_ptr<const GenerateEnvironment> environment,
             std::shared_ptr<const Tenant> tenant, std::optional<IdempotencyKey> key,
             std::string request_id);

  enum class Joined {
    kYes,
    kOver,  // it has failed, was given up, or is too large to keep
    kFull,  // it has kMaxSubscribers
  };
  // Publishes everything so far and from now on to `reader`, or nothing at all.
  [[nodiscard]] Joined Join(const std::shared_ptr<Subscriber>& reader);

  // Resolves, admits and submits the request; an error goes to the subscribers. Called once, by the
  // creator of the generation, after its subscriber has joined.
  void Start(const v1::GenerateRequest& request);

  // Removes `reader`. Subscribers that got the end need not leave.
  void Leave(const Subscriber& reader);

  // --- Called by the engine ---
  void OnAccepted(const AcceptedInfo& info) override;
  void OnProgress(int sample, int evaluations_done, int evaluations_total) override;
  void OnPreview(int sample, int evaluations_done, Image pixels) override;
  void OnImage(int sample, Image pixels, const SampleTimings& timings) override;
  void OnSampleFailed(int sample, const absl::Status& status) override;
  void OnFinished(const absl::Status& status) override;

 private:
  absl::Status ResolveAndSubmit(const v1::GenerateRequest& request);

  // Returns the owner of the tasks on the pool.
  TaskOwner Owner() const { return {.tenant = tenant_->name, .request = this}; }
  // Runs `encode` on the pool, which keeps this object until then; an exception stops the
  // generation.
  void EncodeLater(std::function<void()> encode);
  void EncodePreview(int sample, int evaluations_done, const Image& pixels);
  void EncodeImage(int sample, const Image& pixels, const SampleTimings& timings);
  absl::StatusOr<EncodedImage> Encode(const Image& pixels, const std::vector<PngText>& texts);

  bool Over() {
    std::lock_guard lock(mutex_);
    return over_;
  }
  // Ends everything now with an error for every subscriber.
  void Stop(const absl::Status& status);

  // --- Methods that need mutex_ ---
  void Submit(ResolvedGeneration resolved, AdmissionTicket ticket);
  void TellSoFar(Subscriber& reader) const;
  void Keep(const SharedEvent& event);
  void ForgetKey();
  // Publishes an event to the subscribers and removes those that are too slow.
  void Tell(v1::GenerateEvent event);
  void StopLocked(const absl::Status& status);
  // Ends it once the engine is done and everything is encoded.
  void CompleteIfDone();
  void EndReaders(const absl::Status& status);
  v1::Completed CompletedEvent() const;

  const std::shared_ptr<const GenerateEnvironment> env_;
  const std::shared_ptr<const Tenant> tenant_;
  const std::string request_id_;

  std::mutex mutex_;
  std::optional<IdempotencyKey> key_;  // while the cache can find it
  std::vector<std::shared_ptr<Subscriber>> readers_;
  absl::Time deadline_ = absl::InfinitePast();

  // Constant from Submit on; the engine and the encoders call only after that.
  std::optional<ResolvedGeneration> resolved_;
  GenerationFacts facts_;
  absl::Time accepted_at_;
  std::optional<JobId> job_;

  AdmissionTicket ticket_;     // each subscriber holds a copy
  std::vector<int> progress_;  // evaluations done, by image
  std::vector<bool> has_image_;
  std::vector<bool> encoding_preview_;
  int images_encoding_ = 0;
  absl::Duration encode_time_;
  absl::Duration first_start_ = absl::InfiniteDuration();  // after acceptance
  absl::Duration last_ready_;
  std::optional<absl::Status> engine_status_;  // from OnFinished

  // With a key: accepted, images, failures and completed, in their order.
  std::vector<SharedEvent> told_;
  size_t told_bytes_ = 0;
  bool completed_ = false;  // ended with OK
  bool over_ = false;       // ended in any way: later events are ignored
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_GENERATION_H_
