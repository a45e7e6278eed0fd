// A server that speaks the real protocol on a loopback port and does what the test scripted.
#ifndef SKIPSTREAM_TESTS_CLIENT_FAKE_SERVER_H_
#define SKIPSTREAM_TESTS_CLIENT_FAKE_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "skipstream/v1/image_generation.grpc.pb.h"
#include "skipstream/v1/model_control.grpc.pb.h"

namespace skipstream::testing {

// Scripts one Generate call.
struct FakeAttempt {
  int images = -1;                      // delivered before the end; -1: all
  grpc::Status end = grpc::Status::OK;  // with OK, `completed` is sent
  bool hang = false;                    // after the images: neither event nor end until cancelled
  bool omit_completed = false;
  std::vector<int> failing_images;  // these end in ImageFailure, and the call in INTERNAL
};

// Status with google.rpc details, as the server sends them.
grpc::Status StatusWithDetails(grpc::StatusCode code, const std::string& message,
                               const std::vector<const google::protobuf::Message*>& details);
grpc::Status FieldViolationStatus(const std::string& field, const std::string& description);
grpc::Status RetryInfoStatus(grpc::StatusCode code, absl::Duration delay);

// Model "fake", 32x32, classes cat, dog, owl, bat. An image is one flat colour that depends on
// seed, class, NFE and rho (see ColorOf). Refuses unknown classes and an even NFE with Heun. A
// guided call costs two evaluations. The card of model "hostile" and the refusal of an unknown one
// hold what a terminal would act on.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::string target() const;
  // Scripts the next calls in turn; calls beyond the script deliver everything.
  void Script(std::vector<FakeAttempt> attempts);
  void SetServing(const std::string& health_service, bool serving);

  std::vector<v1::GenerateRequest> requests() const;
  // Loads are answered with model "mine" (that replaced another one, if asked to); the file
  // "absent.safetensors" is not there.
  std::vector<v1::LoadRequest> loads() const;
  std::vector<std::string> unloads() const;
  // Block until `count` calls arrived, delivered all the images their script allows, or were seen
  // to be cancelled.
  void WaitForRequests(int count);
  void WaitForHanging(int count);
  void WaitForCancels(int count);

  // Holds back calls until `count` of them run at the same time.
  void HoldUntilRunning(int count);

  struct Rgb {
    uint8_t r, g, b;
  };
  static Rgb ColorOf(const v1::GenerateRequest& resolved);

 private:
  class Service;
  class Stream;
  class Control;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace skipstream::testing

#endif  // SKIPSTREAM_TESTS_CLIENT_FAKE_SERVER_H_
