#include "tests/client/fake_server.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/health_check_service_interface.h>
#include <spng.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/rpc/status.pb.h"

namespace skipstream::testing {
namespace {

constexpr int kSide = 32;
const char* const kClasses[] = {"cat", "dog", "owl", "bat"};
constexpr int kNumClasses = 4;

std::string EncodePng(const FakeServer::Rgb& color, std::string request_json) {
  std::vector<uint8_t> pixels;
  for (int i = 0; i < kSide * kSide; ++i) pixels.insert(pixels.end(), {color.r, color.g, color.b});
  spng_ctx* context = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = header.height = kSide;
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(context, &header);
  spng_text text{};
  text.type = SPNG_TEXT;
  std::strcpy(text.keyword, "skipstream.request");
  text.text = request_json.data();
  text.length = request_json.size();
  spng_set_text(context, &text, 1);
  spng_encode_image(context, pixels.data(), pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  size_t size;
  int error;
  void* data = spng_get_png_buffer(context, &size, &error);
  std::string png(static_cast<char*>(data), size);
  std::free(data);
  spng_ctx_free(context);
  return png;
}

int ClassOf(const v1::GenerateRequest& request, int image, uint32_t seed) {
  if (request.classes_size() == 0) return static_cast<int>(seed % kNumClasses);
  const v1::ClassSelector& selector = request.classes(request.classes_size() == 1 ? 0 : image);
  if (selector.has_index()) return selector.index() < kNumClasses ? selector.index() : -1;
  const auto* found = std::find(kClasses, kClasses + kNumClasses, selector.name());
  return found == kClasses + kNumClasses ? -1 : static_cast<int>(found - kClasses);
}

int CountOf(const v1::GenerateRequest& request) {
  return request.has_count() ? request.count() : std::max(1, request.seeds_size());
}

grpc::Status Validate(const v1::GenerateRequest& request) {
  const int nfe = request.sampler().has_nfe() ? request.sampler().nfe() : 19;
  const v1::Solver solver = request.sampler().solver();
  if ((solver == v1::SOLVER_UNSPECIFIED || solver == v1::SOLVER_HEUN) && nfe % 2 == 0) {
    return FieldViolationStatus("sampler.nfe",
                                absl::StrCat("must be odd for Heun: ", nfe - 1, " or ", nfe + 1));
  }
  for (int i = 0; i < request.classes_size(); ++i) {
    if (ClassOf(request, i, 0) < 0) {
      return FieldViolationStatus(absl::StrCat("classes[", i, "]"),
                                  "must be one of cat, dog, owl, bat or 0 to 3");
    }
  }
  return grpc::Status::OK;
}

v1::GenerateRequest ResolveImage(const v1::GenerateRequest& request, int image) {
  v1::GenerateRequest resolved = request;
  const uint32_t seed = request.seeds_size() == 0 ? 1000 + static_cast<uint32_t>(image)
                        : request.seeds_size() == 1
                            ? request.seeds(0) + static_cast<uint32_t>(image)
                            : request.seeds(image);
  resolved.set_model("fake");
  resolved.set_model_sha256(std::string(64, 'a'));
  resolved.set_count(1);
  resolved.clear_seeds();
  resolved.add_seeds(seed);
  resolved.clear_classes();
  resolved.add_classes()->set_index(ClassOf(request, image, seed));
  v1::Sampler& sampler = *resolved.mutable_sampler();
  if (!sampler.has_nfe()) sampler.set_nfe(19);
  if (sampler.solver() == v1::SOLVER_UNSPECIFIED) sampler.set_solver(v1::SOLVER_HEUN);
  if (!resolved.guidance().guide_model().empty()) {
    resolved.mutable_guidance()->set_guide_model_sha256(std::string(64, 'b'));
  }
  return resolved;
}

v1::GenerateEvent ImageEvent(const v1::GenerateRequest& request, int index) {
  v1::GenerateEvent event;
  v1::Image& image = *event.mutable_image();
  const v1::GenerateRequest resolved = ResolveImage(request, index);
  image.set_image_index(index);
  image.set_seed(resolved.seeds(0));
  image.set_class_index(resolved.classes(0).index());
  image.set_class_name(kClasses[resolved.classes(0).index()]);
  *image.mutable_resolved_request() = resolved;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(resolved, &json);
  v1::EncodedImage& encoded = *image.mutable_picture();
  encoded.set_format(v1::IMAGE_FORMAT_PNG);
  encoded.set_width(kSide);
  encoded.set_height(kSide);
  encoded.set_channels(3);
  encoded.set_data(EncodePng(FakeServer::ColorOf(resolved), json));
  return event;
}

std::vector<v1::GenerateEvent> EventsOf(const v1::GenerateRequest& request,
                                        const FakeAttempt& attempt) {
  const int count = CountOf(request);
  const int nfe = ResolveImage(request, 0).sampler().nfe();
  std::vector<v1::GenerateEvent> events(1);
  events[0].mutable_accepted();
  const int delivered = attempt.images < 0 ? count : std::min(count, attempt.images);
  for (int i = 0; i < delivered; ++i) {
    v1::Progress& progress = *events.emplace_back().mutable_progress();
    progress.set_image_index(i);
    progress.set_evaluations_done(nfe);
    progress.set_evaluations_total(nfe);
    progress.set_request_evaluations_done(static_cast<int64_t>(i + 1) * nfe);
    progress.set_request_evaluations_total(static_cast<int64_t>(count) * nfe);
    const auto& failing = attempt.failing_images;
    if (std::find(failing.begin(), failing.end(), i) == failing.end()) {
      events.push_back(ImageEvent(request, i));
    } else {
      v1::ImageFailure& failure = *events.emplace_back().mutable_image_failure();
      failure.set_image_index(i);
      failure.set_code(grpc::StatusCode::INTERNAL);
      failure.set_message("the image is not finite");
    }
  }
  if (attempt.end.ok() && !attempt.hang && !attempt.omit_completed &&
      attempt.failing_images.empty()) {
    v1::Completed& completed = *events.emplace_back().mutable_completed();
    v1::GenerateRequest& resolved = *completed.mutable_resolved_request();
    resolved = ResolveImage(request, 0);
    resolved.set_count(count);
    for (int i = 1; i < count; ++i) {
      resolved.MergeFrom([&] {
        v1::GenerateRequest lists;
        *lists.mutable_seeds() = ResolveImage(request, i).seeds();
        *lists.mutable_classes() = ResolveImage(request, i).classes();
        return lists;
      }());
    }
    completed.set_server_version("9.8.7");
    completed.set_denoiser_calls(static_cast<int64_t>(count) * nfe);
    const bool guided = request.guidance().has_scale() && request.guidance().scale() != 1;
    completed.set_evaluations(completed.denoiser_calls() * (guided ? 2 : 1));
  }
  return events;
}

}  // namespace

class FakeServer::Service : public v1::ImageGeneration::CallbackService {
 public:
  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest*,
                                       v1::ListModelsResponse* response) override {
    v1::ModelSummary& model = *response->add_models();
    model.set_name("fake");
    model.set_is_default(true);
    model.set_width(kSide);
    model.set_height(kSide);
    model.set_num_classes(kNumClasses);
    model.set_num_skips(16);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (request->model() == "hostile") {
      response->set_name("hostile");
      response->set_license("\x1b]0;owned\x07\x1b[2J\nlimits");
      response->set_num_classes(2);
      response->add_class_names("gnp.\u202etac");
      response->add_class_names("caf\u00e9");
      response->add_presets()->set_name("a\rb");
      reactor->Finish(grpc::Status::OK);
      return reactor;
    }
    if (request->model() == "refused") {
      reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no\x1b[2J\nerror: such"));
      return reactor;
    }
    if (!request->model().empty() && request->model() != "fake") {
      reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such model; there is fake"));
      return reactor;
    }
    response->set_name("fake");
    response->set_num_classes(kNumClasses);
    for (const char* name : kClasses) response->add_class_names(name);
    v1::Preset& preset = *response->add_presets();
    preset.set_name("sharp");
    preset.set_nfe(9);
    preset.mutable_skip_tuning()->set_rho(0.9);
    response->mutable_limits()->set_max_count(64);
    response->set_supports_guidance(true);
    for (double sigma : {80.0, 5.0, 0.01}) response->add_sigma_levels(sigma);
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<FakeAttempt> script;
  std::vector<v1::GenerateRequest> requests;
  int hanging = 0;
  int cancels = 0;
  int running = 0;
  int hold_until = 0;
  std::vector<std::function<void()>> held;
};

// Writes its events one by one, then ends or hangs as scripted. Deletes itself.
class FakeServer::Stream : public grpc::ServerWriteReactor<v1::GenerateEvent> {
 public:
  Stream(Service& service, std::vector<v1::GenerateEvent> events, FakeAttempt attempt)
      : service_(service), events_(std::move(events)), attempt_(std::move(attempt)) {}

  void WriteNext() {
    std::unique_lock lock(service_.mutex);
    if (next_ < events_.size() && !cancelled_) {
      const v1::GenerateEvent& event = events_[next_++];
      lock.unlock();
      StartWrite(&event);
      return;
    }
    if (attempt_.hang && !cancelled_) {
      hanging_ = true;
      ++service_.hanging;
      service_.changed.notify_all();
      return;
    }
    lock.unlock();
    Finish(attempt_.failing_images.empty()
               ? attempt_.end
               : grpc::Status(grpc::StatusCode::INTERNAL, "some images failed"));
  }

  void OnWriteDone(bool) override { WriteNext(); }

  void OnCancel() override {
    bool finish;
    {
      std::lock_guard lock(service_.mutex);
      cancelled_ = true;
      finish = hanging_;
      ++service_.cancels;
      service_.changed.notify_all();
    }
    if (finish) Finish(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    {
      std::lock_guard lock(service_.mutex);
      --service_.running;
    }
    delete this;
  }

 private:
  Service& service_;
  const std::vector<v1::GenerateEvent> events_;
  const FakeAttempt attempt_;
  size_t next_ = 0;  // guarded by service_.mutex, as all below
  bool cancelled_ = false;
  bool hanging_ = false;
};

grpc::ServerWriteReactor<v1::GenerateEvent>* FakeServer::Service::Generate(
    grpc::CallbackServerContext*, const v1::GenerateRequest* request) {
  std::unique_lock lock(mutex);
  requests.push_back(*request);
  changed.notify_all();
  FakeAttempt attempt;
  if (!script.empty()) {
    attempt = script.front();
    script.pop_front();
  }
  const grpc::Status valid = Validate(*request);
  if (!valid.ok()) {
    attempt = FakeAttempt();
    attempt.end = valid;
  }
  auto* stream = new Stream(
      *this, valid.ok() ? EventsOf(*request, attempt) : std::vector<v1::GenerateEvent>(), attempt);
  held.push_back([stream] { stream->WriteNext(); });
  if (++running < hold_until) return stream;
  const auto released = std::exchange(held, {});
  lock.unlock();
  for (const auto& release : released) release();
  return stream;
}

class FakeServer::Control : public v1::ModelControl::Service {
 public:
  grpc::Status Load(grpc::ServerContext*, const v1::LoadRequest* request,
                    v1::LoadResponse* response) override {
    std::lock_guard lock(mutex);
    loads.push_back(*request);
    if (request->file() == "absent.safetensors") {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "file: no 'absent.safetensors'");
    }
    response->set_name("mine");
    response->set_sha256("abc");
    if (request->replace()) response->set_replaced_sha256("def");
    return grpc::Status::OK;
  }
  grpc::Status Unload(grpc::ServerContext*, const v1::UnloadRequest* request,
                      v1::UnloadResponse*) override {
    std::lock_guard lock(mutex);
    unloads.push_back(request->name());
    return grpc::Status::OK;
  }

  std::mutex mutex;
  std::vector<v1::LoadRequest> loads;
  std::vector<std::string> unloads;
};

FakeServer::FakeServer()
    : service_(std::make_unique<Service>()), control_(std::make_unique<Control>()) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  builder.RegisterService(control_.get());
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

std::string FakeServer::target() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeServer::Script(std::vector<FakeAttempt> attempts) {
  std::lock_guard lock(service_->mutex);
  service_->script.assign(attempts.begin(), attempts.end());
}

void FakeServer::SetServing(const std::string& health_service, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(health_service, serving);
}

std::vector<v1::GenerateRequest> FakeServer::requests() const {
  std::lock_guard lock(service_->mutex);
  return service_->requests;
}

std::vector<v1::LoadRequest> FakeServer::loads() const {
  std::lock_guard lock(control_->mutex);
  return control_->loads;
}

std::vector<std::string> FakeServer::unloads() const {
  std::lock_guard lock(control_->mutex);
  return control_->unloads;
}

void FakeServer::WaitForRequests(int count) {
  std::unique_lock lock(service_->mutex);
  service_->changed.wait(lock,
                         [&] { return static_cast<int>(service_->requests.size()) >= count; });
}

void FakeServer::WaitForHanging(int count) {
  std::unique_lock lock(service_->mutex);
  service_->changed.wait(lock, [&] { return service_->hanging >= count; });
}

void FakeServer::WaitForCancels(int count) {
  std::unique_lock lock(service_->mutex);
  service_->changed.wait(lock, [&] { return service_->cancels >= count; });
}

void FakeServer::HoldUntilRunning(int count) {
  std::lock_guard lock(service_->mutex);
  service_->hold_until = count;
}

FakeServer::Rgb FakeServer::ColorOf(const v1::GenerateRequest& resolved) {
  return {static_cast<uint8_t>(resolved.seeds(0) * 29 % 256),
          static_cast<uint8_t>(40 + resolved.classes(0).index() * 60),
          static_cast<uint8_t>(resolved.sampler().nfe() * 5 + resolved.skip_tuning().rho() * 50)};
}

grpc::Status StatusWithDetails(grpc::StatusCode code, const std::string& message,
                               const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status rich;
  rich.set_code(code);
  rich.set_message(message);
  for (const google::protobuf::Message* detail : details) rich.add_details()->PackFrom(*detail);
  return grpc::Status(code, message, rich.SerializeAsString());
}

grpc::Status FieldViolationStatus(const std::string& field, const std::string& description) {
  google::rpc::BadRequest bad_request;
  auto& violation = *bad_request.add_field_violations();
  violation.set_field(field);
  violation.set_description(description);
  return StatusWithDetails(grpc::StatusCode::INVALID_ARGUMENT, "invalid request", {&bad_request});
}

grpc::Status RetryInfoStatus(grpc::StatusCode code, absl::Duration delay) {
  google::rpc::RetryInfo retry;
  const int64_t nanos = absl::ToInt64Nanoseconds(delay);
  retry.mutable_retry_delay()->set_seconds(nanos / 1'000'000'000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return StatusWithDetails(code, "the queue is full", {&retry});
}

}  // namespace skipstream::testing
