#include "server/generation/event_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kMaxBytes = 1000;

SharedEvent Shared(v1::GenerateEvent event) {
  return std::make_shared<const v1::GenerateEvent>(std::move(event));
}

SharedEvent ImageEvent(int image, size_t bytes) {
  v1::GenerateEvent event;
  event.mutable_image()->set_image_index(image);
  event.mutable_image()->mutable_picture()->set_data(std::string(bytes, 'i'));
  return Shared(std::move(event));
}

SharedEvent PreviewOf(int image, int evaluations_done, size_t bytes = 10) {
  v1::GenerateEvent event;
  v1::Preview& preview = *event.mutable_preview();
  preview.set_image_index(image);
  preview.set_evaluations_done(evaluations_done);
  preview.mutable_picture()->set_data(std::string(bytes, 'p'));
  return Shared(std::move(event));
}

class EventOutboxTest : public ::testing::Test {
 protected:
  // "progress 0 3/9", "preview 0 3", "image 0", "failure 1", "completed"
  std::vector<std::string> PopAll() {
    std::vector<std::string> events;
    while (const SharedEvent event = outbox_.Pop()) {
      if (event->has_progress()) {
        events.push_back(absl::StrCat("progress ", event->progress().image_index(), " ",
                                      event->progress().evaluations_done(), "/",
                                      event->progress().evaluations_total()));
      } else if (event->has_preview()) {
        events.push_back(absl::StrCat("preview ", event->preview().image_index(), " ",
                                      event->preview().evaluations_done()));
      } else if (event->has_image()) {
        events.push_back(absl::StrCat("image ", event->image().image_index()));
      } else if (event->has_image_failure()) {
        events.push_back(absl::StrCat("failure ", event->image_failure().image_index()));
      } else if (event->has_completed()) {
        events.push_back("completed");
      }
    }
    return events;
  }
  void Preview(int image, int evaluations_done, size_t bytes = 10) {
    if (outbox_.WantsPreview(image)) {
      outbox_.PushPreview(PreviewOf(image, evaluations_done, bytes));
    }
  }

  EventOutbox outbox_{kMaxBytes, /*num_images=*/3, /*evaluations_per_image=*/9};
};

TEST_F(EventOutboxTest, AFastReaderGetsEverythingInOrder) {
  outbox_.PushProgress(0, 1);
  EXPECT_THAT(PopAll(), ElementsAre("progress 0 1/9"));
  outbox_.PushProgress(0, 9);
  Preview(0, 8);
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, 10)));
  EXPECT_THAT(PopAll(), ElementsAre("progress 0 9/9", "preview 0 8", "image 0"));
}

TEST_F(EventOutboxTest, ProgressOfASlowReaderIsFoldedPerImageAndNewest) {
  for (int done = 1; done <= 9; ++done) {
    outbox_.PushProgress(0, done);
    outbox_.PushProgress(1, done);
  }
  EXPECT_THAT(PopAll(), ElementsAre("progress 0 9/9", "progress 1 9/9"));
}

TEST_F(EventOutboxTest, TotalsCountAllImagesAndNeverGoBack) {
  outbox_.PushProgress(0, 1);
  outbox_.PushProgress(1, 1);
  outbox_.PushProgress(0, 2);  // folded into the first event
  const v1::Progress first = outbox_.Pop()->progress();
  const v1::Progress second = outbox_.Pop()->progress();
  EXPECT_EQ(first.request_evaluations_done(), 3);
  EXPECT_EQ(second.request_evaluations_done(), 3);
  EXPECT_EQ(second.request_evaluations_total(), 27);
}

TEST_F(EventOutboxTest, ANewerPreviewReplacesTheOneThatWaits) {
  Preview(0, 1);
  Preview(1, 1);
  Preview(0, 2);
  EXPECT_THAT(PopAll(), ElementsAre("preview 1 1", "preview 0 2"));
  EXPECT_EQ(outbox_.previews_dropped(), 1);
}

TEST_F(EventOutboxTest, AnImageCountsAsAllOfItsEvaluations) {
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, 10)));
  outbox_.PushProgress(1, 2);
  outbox_.Pop();
  EXPECT_EQ(outbox_.Pop()->progress().request_evaluations_done(), 11);
}

TEST_F(EventOutboxTest, WhatWaitsIsSharedNotCopied) {
  const SharedEvent image = ImageEvent(0, 10);
  EXPECT_TRUE(outbox_.Push(image));
  EXPECT_EQ(outbox_.Pop(), image);
}

TEST_F(EventOutboxTest, PreviewsAreRefusedWhileMuchIsWaiting) {
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, kMaxBytes / 2)));
  EXPECT_FALSE(outbox_.WantsPreview(1));
  PopAll();
  EXPECT_TRUE(outbox_.WantsPreview(1));
  EXPECT_EQ(outbox_.previews_dropped(), 1);
}

TEST_F(EventOutboxTest, APreviewThatComesAfterItsImageIsDropped) {
  EXPECT_TRUE(outbox_.WantsPreview(0));
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, 10)));
  outbox_.PushPreview(PreviewOf(0, 8));
  EXPECT_THAT(PopAll(), ElementsAre("image 0"));
  EXPECT_EQ(outbox_.previews_dropped(), 1);
}

TEST_F(EventOutboxTest, PreviewsMakeRoomForAnImage) {
  Preview(1, 1, 200);
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, kMaxBytes - 100)));
  EXPECT_THAT(PopAll(), ElementsAre("image 0"));
  EXPECT_EQ(outbox_.previews_dropped(), 1);
}

TEST_F(EventOutboxTest, AnImageThatDoesNotFitIsNotDroppedButReported) {
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, kMaxBytes / 2)));
  EXPECT_FALSE(outbox_.Push(ImageEvent(1, kMaxBytes / 2)));
  EXPECT_THAT(PopAll(), ElementsAre("image 0"));
}

TEST_F(EventOutboxTest, ALoneImageMayBeLargerThanTheBound) {
  EXPECT_TRUE(outbox_.Push(ImageEvent(0, 2 * kMaxBytes)));
  EXPECT_THAT(PopAll(), ElementsAre("image 0"));
}

TEST_F(EventOutboxTest, RoomComesBackWithTheReader) {
  for (int image = 0; image < 3; ++image) {
    EXPECT_TRUE(outbox_.Push(ImageEvent(image, kMaxBytes - 100)));
    EXPECT_THAT(PopAll(), ElementsAre(absl::StrCat("image ", image)));
  }
  EXPECT_EQ(outbox_.bytes(), 0u);
}

TEST_F(EventOutboxTest, FailuresAreNeverDropped) {
  v1::GenerateEvent event;
  event.mutable_image_failure()->set_image_index(1);
  EXPECT_TRUE(outbox_.Push(Shared(event)));
  EXPECT_THAT(PopAll(), ElementsAre("failure 1"));
}

TEST_F(EventOutboxTest, ClearForgetsWhatWaits) {
  outbox_.PushProgress(0, 1);
  Preview(0, 1);
  outbox_.Clear();
  EXPECT_THAT(PopAll(), IsEmpty());
  EXPECT_EQ(outbox_.bytes(), 0u);
  outbox_.PushProgress(0, 2);
  EXPECT_THAT(PopAll(), ElementsAre("progress 0 2/9"));
}

}  // namespace
}  // namespace skipstream
