#include "server/rpc/model_control_service.h"

#include <sys/resource.h>

#include <exception>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error_details.h"
#include "server/request/model_reference.h"
#include "server/request/violations.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/unary_method.h"
#include "server/security/confined_file.h"
#include "skipstream/v1/model_control.grpc.pb.h"

namespace skipstream {
namespace {

constexpr absl::string_view kModelFileEnding = ".safetensors";

// Reading, checking and hashing a model keeps two cores busy. Evaluations go first: on shared cores
// they would take many times as long meanwhile. Still a tenth of what others get, so that loading
// ends on a busy server too, and nobody waits long for a lock it holds.
constexpr int kLoaderNiceness = 10;

absl::Status Disabled() {
  return absl::PermissionDeniedError(
      "model control is off; start the server with --enable_model_control to allow it");
}

// A plain file name: whatever it says, it stays inside the model directory.
void CheckFileName(const std::string& file, Violations& violations) {
  if (!violations.CheckName("file", file)) return;
  if (file.find('/') == std::string::npos && file.find('\\') == std::string::npos &&
      file.find('\0') == std::string::npos && !absl::StartsWith(file, ".") &&
      absl::EndsWith(file, kModelFileEnding) && file.size() > kModelFileEnding.size()) {
    return;
  }
  violations.Add("file", absl::StrCat("must be the name of a ", kModelFileEnding,
                                      " file in the server's model directory, without a path, got ",
                                      Quoted(file)));
}

template <typename Work>
auto Caught(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& exception) {
    return absl::InternalError(absl::StrCat("unexpected error: ", exception.what()));
  }
}

}  // namespace

ModelControlService::ModelControlService(const Options& options, Executor& executor,
                                         ModelRegistry& models, const CallAuthorizer& authorizer,
                                         const EventLog& log)
    : options_(options), executor_(executor), models_(models), authorizer_(authorizer), log_(log) {
  // A thread on Linux has its own priority, which threads that it starts inherit. Where it cannot
  // be changed, loading competes with the other threads on equal terms.
  loader_.Submit([] { setpriority(PRIO_PROCESS, /*who: this thread*/ 0, kLoaderNiceness); });
}

absl::StatusOr<Caller> ModelControlService::Enter(const grpc::CallbackServerContext& context,
                                                  const char* method) const {
  absl::StatusOr<Caller> caller = authorizer_.Authorize(context, Right::kControl, method);
  if (caller.ok() && !options_.enabled) return Disabled();
  return caller;
}

void ModelControlService::Log(const char* operation, const std::string& tenant,
                              const std::string& file, const std::string& name,
                              const absl::Status& status) const {
  log_.Info("model control", {{"operation", operation},
                              {"tenant", tenant},
                              {"file", file},
                              {"name", name},
                              {"code", StatusCodeName(status)},
                              {"error", std::string(status.message())}});
}

void ModelControlService::AddTo(CallRouter& router) {
  const std::string service = absl::StrCat("/", v1::ModelControl::service_full_name(), "/");
  router.Add(service + "Load", [this](grpc::CallbackServerContext* context) {
    return HandleUnary<v1::LoadRequest>(
        Enter(*context, "Load"), options_.request_timeout,
        // The context lives until the call is done.
        [this, context](const Caller& caller, v1::LoadRequest request, UnaryCall::Done done) {
          loader_.Submit([this, context, tenant = caller.tenant->name, request = std::move(request),
                          done = std::move(done)] {
            // Also when the server is stopping: what waits here must not hold it up.
            if (context->IsCancelled()) {
              return done(absl::CancelledError("the call ended before its turn to load"));
            }
            const auto result = Caught([&] { return LoadModel(request); });
            Log("load", tenant, request.file(), request.name(), result.status());
            done(SerializedResult(result));
          });
        });
  });
  router.Add(service + "Unload", [this](grpc::CallbackServerContext* context) {
    return HandleUnary<v1::UnloadRequest>(
        Enter(*context, "Unload"), options_.request_timeout,
        [this](const Caller& caller, const v1::UnloadRequest& request,
               const UnaryCall::Done& done) {
          const auto result = UnloadModel(request);
          Log("unload", caller.tenant->name, "", request.name(), result.status());
          done(SerializedResult(result));
        });
  });
}

absl::StatusOr<v1::LoadResponse> ModelControlService::LoadModel(const v1::LoadRequest& request) {
  Violations violations;
  violations.CheckNoUnknownFields(request);
  CheckFileName(request.file(), violations);
  if (!violations.empty()) return violations.ToStatus();
  const std::string name =
      request.name().empty()
          ? request.file().substr(0, request.file().size() - kModelFileEnding.size())
          : request.name();
  if (absl::Status valid = ValidateModelName(name); !valid.ok()) {
    violations.Add("name", std::string(valid.message()));
    return violations.ToStatus();
  }
  if (!request.replace() && models_.Find(name).ok()) {
    return absl::AlreadyExistsError(absl::StrCat("a model is already called ", Quoted(name),
                                                 "; unload it first, or ask to replace it"));
  }

  const absl::StatusOr<ConfinedFile> file = ConfinedFile::Find(options_.model_dir, request.file());
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(
        absl::StrCat("file: no ", Quoted(request.file()), " in the server's model directory"));
  }
  if (!file.ok()) return file.status();
  absl::StatusOr<std::shared_ptr<const LoadedModel>> model =
      LoadedModel::Load(executor_, name, file->path());
  if (!model.ok()) {
    const bool bad_file =
        absl::IsInvalidArgument(model.status()) || absl::IsUnimplemented(model.status());
    // Clients must not see where the server keeps its files.
    const std::string message = absl::StrReplaceAll(
        model.status().message(), {{file->path(), request.file()}, {file->real_directory(), ""}});
    if (!bad_file) return absl::Status(model.status().code(), message);
    violations.Add("file", message);
    return violations.ToStatus();
  }
  // Measuring it would hold up what runs.
  if (const auto known = models_.Find(""); known.ok()) {
    (*model)->cost().AssumeKnee((*known)->cost().Knee());
  }
  v1::LoadResponse response;
  response.set_name(name);
  response.set_sha256((*model)->info().sha256);
  if (!request.replace()) {
    if (absl::Status added = models_.Add(*std::move(model)); !added.ok()) return added;
    return response;
  }
  const std::shared_ptr<const LoadedModel> replaced = models_.Replace(*std::move(model));
  if (replaced != nullptr) response.set_replaced_sha256(replaced->info().sha256);
  return response;
}

absl::StatusOr<v1::UnloadResponse> ModelControlService::UnloadModel(
    const v1::UnloadRequest& request) {
  Violations violations;
  violations.CheckNoUnknownFields(request);
  if (absl::Status valid = ValidateModelName(request.name()); !valid.ok()) {
    violations.Add("name", std::string(valid.message()));
  }
  if (!violations.empty()) return violations.ToStatus();
  if (absl::Status removed = models_.Remove(request.name()); !removed.ok()) return removed;
  return v1::UnloadResponse();
}

}  // namespace skipstream
