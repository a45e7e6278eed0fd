// The client library against a server that does what the test scripted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "client/cc/skipstream_client.h"
#include "tests/client/fake_server.h"

namespace skipstream::client {
namespace {

using skipstream::testing::FakeAttempt;
using skipstream::testing::FakeServer;
using skipstream::testing::RetryInfoStatus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "gone");

Client::Options FastRetries(const FakeServer& server) {
  Client::Options options;
  options.target = server.target();
  options.retry.initial_backoff = absl::Milliseconds(1);
  return options;
}

v1::GenerateRequest CatsAndDogs(std::vector<uint32_t> seeds) {
  v1::GenerateRequest request;
  for (size_t i = 0; i < seeds.size(); ++i) {
    request.add_seeds(seeds[i]);
    request.add_classes()->set_name(i % 2 == 0 ? "cat" : "dog");
  }
  return request;
}

std::vector<uint32_t> SeedsOf(const v1::GenerateRequest& request) {
  return {request.seeds().begin(), request.seeds().end()};
}

FakeAttempt Ends(const grpc::Status& status, int after_images = 0) {
  FakeAttempt attempt;
  attempt.images = after_images;
  attempt.end = status;
  return attempt;
}

FakeAttempt Hangs(int after_images = 0) {
  FakeAttempt attempt;
  attempt.images = after_images;
  attempt.hang = true;
  return attempt;
}

TEST(ClientTest, ReturnsTheImagesInOrderWithWhatTheServerSaysAboutThem) {
  FakeServer server;
  Client client(FastRetries(server));
  const auto result = client.Generate(CatsAndDogs({5, 6, 7}));
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->images.size(), 3);
  EXPECT_EQ(result->images[1].image_index(), 1);
  EXPECT_EQ(result->images[1].seed(), 6u);
  EXPECT_EQ(result->images[1].class_name(), "dog");
  EXPECT_EQ(result->completed.server_version(), "9.8.7");
  EXPECT_EQ(result->attempts, 1);
}

TEST(ClientTest, CallsBackForEveryEvent) {
  FakeServer server;
  Client client(FastRetries(server));
  int accepted = 0, progress = 0, images = 0;
  GenerateCallbacks callbacks;
  callbacks.on_accepted = [&](const v1::Accepted&) { ++accepted; };
  callbacks.on_progress = [&](const v1::Progress&) { ++progress; };
  callbacks.on_image = [&](const v1::Image&) { ++images; };
  ASSERT_TRUE(client.Generate(CatsAndDogs({1, 2}), callbacks).ok());
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(progress, 2);
  EXPECT_EQ(images, 2);
}

TEST(ClientTest, DrawsOpenSeedsItselfSoThatARetryMakesTheSameImages) {
  FakeServer server;
  server.Script({Ends(kUnavailable), Ends(kUnavailable)});
  Client client(FastRetries(server));
  v1::GenerateRequest request;
  request.set_count(3);
  const auto result = client.Generate(request);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3);
  EXPECT_EQ(requests[0].seeds().size(), 3);
  EXPECT_EQ(SeedsOf(requests[0]), SeedsOf(requests[2]));
  EXPECT_EQ(result->attempts, 3);
}

TEST(ClientTest, EveryTryHasTheSameIdAndEveryCallItsOwn) {
  FakeServer server;
  server.Script({Ends(kUnavailable)});
  Client client(FastRetries(server));
  const auto result = client.Generate(CatsAndDogs({1}));
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(client.Generate(CatsAndDogs({1})).ok());
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3);
  EXPECT_EQ(requests[0].request_id().size(), 32u);
  EXPECT_EQ(requests[0].request_id(), result->request_id);
  EXPECT_EQ(requests[1].SerializeAsString(), requests[0].SerializeAsString());
  EXPECT_NE(requests[2].request_id(), requests[0].request_id());
}

TEST(ClientTest, WithAnIdOfTheCallersTheSameCallIsTheSameRequest) {
  FakeServer server;
  v1::GenerateRequest request;
  request.set_count(3);
  request.set_request_id("poster");
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Client(FastRetries(server)).Generate(request).ok());
  request.set_request_id("banner");
  ASSERT_TRUE(Client(FastRetries(server)).Generate(request).ok());
  const auto requests = server.requests();
  EXPECT_EQ(requests[0].request_id(), "poster");
  EXPECT_EQ(requests[0].SerializeAsString(), requests[1].SerializeAsString());
  EXPECT_NE(SeedsOf(requests[2]), SeedsOf(requests[0]));
}

TEST(ClientTest, TheRestOfABrokenRequestIsAnotherRequest) {
  FakeServer server;
  server.Script({Ends(kUnavailable, /*after_images=*/1), Ends(kUnavailable, 0),
                 Ends(kUnavailable, /*after_images=*/1)});
  Client client(FastRetries(server));
  const auto result = client.Generate(CatsAndDogs({10, 11, 12}));
  ASSERT_TRUE(result.ok()) << result.status();
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 4);
  EXPECT_NE(requests[1].request_id(), requests[0].request_id());
  EXPECT_EQ(requests[1].SerializeAsString(), requests[2].SerializeAsString());
  EXPECT_NE(requests[3].request_id(), requests[2].request_id());
  for (const auto& request : requests) {
    EXPECT_EQ(request.request_id().rfind(result->request_id, 0), 0u) << "tells where it belongs";
  }
}

TEST(ClientTest, ExpandsOneSeedToOnePerImageAsTheApiDefinesIt) {
  FakeServer server;
  Client client(FastRetries(server));
  v1::GenerateRequest request;
  request.set_count(3);
  request.add_seeds(4294967295u);
  ASSERT_TRUE(client.Generate(request).ok());
  EXPECT_THAT(server.requests().at(0).seeds(), ElementsAre(4294967295u, 0u, 1u));
}

TEST(ClientTest, LeavesAContradictoryRequestForTheServerToRefuse) {
  FakeServer server;
  Client client(FastRetries(server));
  v1::GenerateRequest request = CatsAndDogs({1, 2, 3});
  request.set_count(2);
  (void)client.Generate(request);
  EXPECT_EQ(server.requests().at(0).seeds().size(), 3);
  EXPECT_EQ(server.requests().at(0).count(), 2);
}

TEST(ClientTest, AfterABrokenStreamAsksOnlyForTheMissingImagesAndOfTheSameWeights) {
  FakeServer server;
  server.Script({Ends(kUnavailable, /*after_images=*/2)});
  Client client(FastRetries(server));
  std::vector<int> delivered;
  std::vector<int64_t> done, total;
  GenerateCallbacks callbacks;
  callbacks.on_image = [&](const v1::Image& image) { delivered.push_back(image.image_index()); };
  callbacks.on_progress = [&](const v1::Progress& progress) {
    done.push_back(progress.request_evaluations_done());
    total.push_back(progress.request_evaluations_total());
  };
  const auto result = client.Generate(CatsAndDogs({10, 11, 12, 13}), callbacks);
  ASSERT_TRUE(result.ok()) << result.status();

  const v1::GenerateRequest rest = server.requests().at(1);
  EXPECT_THAT(rest.seeds(), ElementsAre(12u, 13u));
  EXPECT_EQ(rest.classes(0).name(), "cat");
  EXPECT_EQ(rest.count(), 2);
  EXPECT_EQ(rest.model_sha256(), std::string(64, 'a'));

  EXPECT_THAT(delivered, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(done, ElementsAre(19, 38, 57, 76));
  EXPECT_THAT(total, ElementsAre(76, 76, 76, 76));
  ASSERT_EQ(result->images.size(), 4);
  EXPECT_EQ(result->images[3].seed(), 13u);
  EXPECT_THAT(result->completed.resolved_request().seeds(), ElementsAre(10u, 11u, 12u, 13u));
  EXPECT_EQ(result->completed.resolved_request().classes().size(), 4);
  EXPECT_EQ(result->completed.resolved_request().count(), 4);
}

TEST(ClientTest, TheRestOfABrokenStreamIsGuidedByTheSameWeights) {
  FakeServer server;
  server.Script({Ends(kUnavailable, /*after_images=*/1)});
  Client client(FastRetries(server));
  v1::GenerateRequest request = CatsAndDogs({5, 6});
  request.mutable_guidance()->set_scale(2);
  request.mutable_guidance()->set_guide_model("small");
  ASSERT_TRUE(client.Generate(request).ok());
  const v1::Guidance rest = server.requests().at(1).guidance();
  EXPECT_EQ(rest.guide_model(), "small");
  EXPECT_EQ(rest.guide_model_sha256(), std::string(64, 'b'));
  EXPECT_EQ(rest.scale(), 2);
}

TEST(ClientTest, IsDoneWhenOnlyTheClosingEventWasLost) {
  FakeServer server;
  server.Script({Ends(kUnavailable, /*after_images=*/2)});
  Client client(FastRetries(server));
  const auto result = client.Generate(CatsAndDogs({10, 11}));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server.requests().size(), 1);
  EXPECT_THAT(result->completed.resolved_request().seeds(), ElementsAre(10u, 11u));
}

TEST(ClientTest, GivesUpAfterSoManyAttemptsInARow) {
  FakeServer server;
  server.Script(std::vector<FakeAttempt>(9, Ends(kUnavailable)));
  Client::Options options = FastRetries(server);
  options.retry.max_attempts = 3;
  Client client(options);
  int retries = 0;
  GenerateCallbacks callbacks;
  callbacks.on_retry = [&](const absl::Status&, absl::Duration) { ++retries; };
  const auto result = client.Generate(CatsAndDogs({1}), callbacks);
  EXPECT_TRUE(absl::IsUnavailable(result.status())) << result.status();
  EXPECT_EQ(server.requests().size(), 3);
  EXPECT_EQ(retries, 2);
}

TEST(ClientTest, RetriesAFullQueueOnlyWhenTheServerSaysWhen) {
  FakeServer server;
  Client client(FastRetries(server));
  server.Script(
      {Ends(RetryInfoStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, absl::Milliseconds(20)))});
  absl::Duration waited;
  GenerateCallbacks callbacks;
  callbacks.on_retry = [&](const absl::Status&, absl::Duration wait) { waited = wait; };
  EXPECT_TRUE(client.Generate(CatsAndDogs({1}), callbacks).ok());
  EXPECT_GE(waited, absl::Milliseconds(20));

  server.Script({Ends(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too big"))});
  EXPECT_TRUE(absl::IsResourceExhausted(client.Generate(CatsAndDogs({1})).status()));
  EXPECT_EQ(server.requests().size(), 3);
}

TEST(ClientTest, DoesNotRetryWhatARetryWouldNotHelp) {
  for (grpc::StatusCode code : {grpc::StatusCode::INTERNAL, grpc::StatusCode::DEADLINE_EXCEEDED,
                                grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::ABORTED}) {
    FakeServer server;
    server.Script({Ends(grpc::Status(code, "no"))});
    Client client(FastRetries(server));
    EXPECT_EQ(static_cast<int>(client.Generate(CatsAndDogs({1})).status().code()), code);
    EXPECT_EQ(server.requests().size(), 1) << code;
  }
}

TEST(ClientTest, DoesNotWaitPastTheDeadline) {
  FakeServer server;
  server.Script({Ends(RetryInfoStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, absl::Seconds(60)))});
  Client client(FastRetries(server));
  const auto result = client.Generate(CatsAndDogs({1}), {}, Deadline::In(absl::Seconds(30)));
  EXPECT_TRUE(absl::IsResourceExhausted(result.status())) << result.status();
}

TEST(ClientTest, EndsWithDeadlineExceededWhenTheServerIsTooSlow) {
  FakeServer server;
  server.Script({Hangs()});
  Client client(FastRetries(server));
  const auto result = client.Generate(CatsAndDogs({1}), {}, Deadline::In(absl::Milliseconds(50)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status())) << result.status();
}

TEST(ClientTest, NamesTheViolatedFields) {
  FakeServer server;
  Client client(FastRetries(server));
  v1::GenerateRequest request;
  request.mutable_sampler()->set_nfe(8);
  const absl::Status status = client.Generate(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("sampler.nfe: must be odd for Heun: 7 or 9"));
  ASSERT_EQ(GetFieldViolations(status).size(), 1);
  EXPECT_EQ(GetFieldViolations(status)[0].field, "sampler.nfe");
}

TEST(ClientTest, DeliversTheOtherImagesWhenOneFails) {
  FakeServer server;
  FakeAttempt attempt;
  attempt.failing_images = {1};
  server.Script({attempt});
  Client client(FastRetries(server));
  std::vector<int> images, failures;
  GenerateCallbacks callbacks;
  callbacks.on_image = [&](const v1::Image& image) { images.push_back(image.image_index()); };
  callbacks.on_image_failure = [&](const v1::ImageFailure& failure) {
    failures.push_back(failure.image_index());
  };
  EXPECT_TRUE(absl::IsInternal(client.Generate(CatsAndDogs({1, 2, 3}), callbacks).status()));
  EXPECT_THAT(images, ElementsAre(0, 2));
  EXPECT_THAT(failures, ElementsAre(1));
}

TEST(ClientTest, AnOkEndWithoutCompletedIsAnError) {
  FakeServer server;
  FakeAttempt attempt;
  attempt.omit_completed = true;
  server.Script({attempt});
  Client client(FastRetries(server));
  const absl::Status status = client.Generate(CatsAndDogs({1, 2})).status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
}

class AsyncCall {
 public:
  Client::DoneCallback OnDone() {
    return [this](absl::StatusOr<GenerateResult> result) { done_.set_value(std::move(result)); };
  }
  absl::StatusOr<GenerateResult> Wait() { return done_.get_future().get(); }

 private:
  std::promise<absl::StatusOr<GenerateResult>> done_;
};

TEST(ClientTest, AsynchronousCallsRunSideBySide) {
  FakeServer server;
  server.HoldUntilRunning(3);  // deadlocks if they came one after another
  Client client(FastRetries(server));
  AsyncCall calls[3];
  for (AsyncCall& call : calls) client.GenerateAsync(CatsAndDogs({1}), {}, call.OnDone());
  for (AsyncCall& call : calls) {
    const auto result = call.Wait();
    EXPECT_TRUE(result.ok()) << result.status();
  }
}

TEST(ClientTest, CancelStopsTheCallOnTheServer) {
  FakeServer server;
  server.Script({Hangs(/*after_images=*/1)});
  Client client(FastRetries(server));
  AsyncCall call;
  const auto handle = client.GenerateAsync(CatsAndDogs({1, 2}), {}, call.OnDone());
  server.WaitForHanging(1);
  handle->Cancel();
  EXPECT_TRUE(absl::IsCancelled(call.Wait().status()));
  server.WaitForCancels(1);
  handle->Cancel();  // after the end: nothing happens
}

TEST(ClientTest, CancelEndsTheWaitForARetry) {
  FakeServer server;
  server.Script({Ends(RetryInfoStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, absl::Seconds(100)))});
  Client client(FastRetries(server));
  AsyncCall call;
  std::promise<void> waiting;
  GenerateCallbacks callbacks;
  callbacks.on_retry = [&](const absl::Status&, absl::Duration) { waiting.set_value(); };
  const auto handle = client.GenerateAsync(CatsAndDogs({1}), callbacks, call.OnDone());
  waiting.get_future().wait();
  handle->Cancel();
  EXPECT_TRUE(absl::IsCancelled(call.Wait().status()));
  EXPECT_EQ(server.requests().size(), 1);
}

TEST(ClientTest, TheClientMayGoWhileACallRuns) {
  FakeServer server;
  server.HoldUntilRunning(2);
  AsyncCall first, second;
  auto client = std::make_unique<Client>(FastRetries(server));
  client->GenerateAsync(CatsAndDogs({1}), {}, first.OnDone());
  server.WaitForRequests(1);
  client->GenerateAsync(CatsAndDogs({2}), {}, second.OnDone());
  client.reset();
  EXPECT_TRUE(first.Wait().ok());
  EXPECT_TRUE(second.Wait().ok());
}

TEST(ClientTest, DescribesModels) {
  FakeServer server;
  Client client(FastRetries(server));
  const auto models = client.ListModels();
  ASSERT_TRUE(models.ok());
  EXPECT_EQ(models->models(0).name(), "fake");
  EXPECT_EQ(client.GetModel("")->class_names(1), "dog");
  EXPECT_TRUE(absl::IsNotFound(client.GetModel("none").status()));
}

TEST(ClientTest, TellsServingFromNotServingFromUnknown) {
  FakeServer server;
  server.SetServing("readiness", true);
  server.SetServing("liveness", false);
  Client client(FastRetries(server));
  EXPECT_TRUE(*client.CheckHealth("readiness"));
  EXPECT_FALSE(*client.CheckHealth("liveness"));
  EXPECT_TRUE(absl::IsNotFound(client.CheckHealth("nothing").status()));
}

}  // namespace
}  // namespace skipstream::client
