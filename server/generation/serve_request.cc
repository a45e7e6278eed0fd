#include "server/generation/serve_request.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/generation/idempotency_key.h"
#include "server/request/request_id.h"

namespace skipstream {
namespace {

void Replay(const FinishedGeneration& finished, Subscriber& reader) {
  reader.Begin(finished.facts, AdmissionTicket(), /*timed=*/false);
  for (const SharedEvent& event : finished.events) {
    if (!reader.Push(event)) return;
  }
  reader.End(absl::OkStatus());
}

}  // namespace

ServedBy ServeRequest(const std::shared_ptr<const GenerateEnvironment>& environment,
                      const std::shared_ptr<const Tenant>& tenant, const std::string& request_id,
                      const v1::GenerateRequest& request,
                      const std::shared_ptr<Subscriber>& reader) {
  const GenerateEnvironment& env = *environment;
  std::optional<IdempotencyKey> key;
  // A malformed id is reported with whatever else is wrong.
  if (IsValidRequestId(request.request_id())) key = MakeIdempotencyKey(tenant->name, request);
  const auto fresh = std::make_shared<Generation>(environment, tenant, key, request_id);
  // Joins before others can find the generation: if they all left, it would be given up.
  if (fresh->Join(reader) != Generation::Joined::kYes) return {};
  while (key) {
    absl::StatusOr<IdempotencyCache::Found> found = env.generations.FindOrAdd(*key, fresh);
    if (!found.ok()) {
      if (const auto model = env.models.Find(request.model()); model.ok()) {
        reader->SetLabels((*model)->name(), "");
      }
      reader->Fail(found.status());
      return {};
    }
    if (found->finished) {
      env.metrics.retries_joined.With({"finished"}).Increment();
      Replay(*found->finished, *reader);
      return {.finished = std::move(found->finished)};
    }
    if (!found->running) break;  // `fresh` has the id
    const Generation::Joined joined = found->running->Join(reader);
    if (joined == Generation::Joined::kFull) {
      reader->Fail(TooManySubscribersError());
      return {};
    }
    if (joined == Generation::Joined::kYes) {
      env.metrics.retries_joined.With({"running"}).Increment();
      return {.generation = std::move(found->running)};
    }
    // It has just ended, and is in the table no more.
  }
  fresh->Start(request);
  return {.generation = fresh};
}

}  // namespace skipstream
