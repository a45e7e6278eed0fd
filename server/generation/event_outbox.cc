#include "server/generation/event_outbox.h"

#include <iterator>
#include <utility>

namespace skipstream {
namespace {

// Bytes that a waiting progress event counts as; it is made when it leaves.
constexpr size_t kProgressBytes = 32;

}  // namespace

EventOutbox::EventOutbox(size_t max_bytes, int num_images, int evaluations_per_image)
    : max_bytes_(max_bytes),
      evaluations_per_image_(evaluations_per_image),
      images_(static_cast<size_t>(num_images)) {}

void EventOutbox::PushProgress(int image, int evaluations_done) {
  ImageState& state = images_.at(static_cast<size_t>(image));
  SetEvaluationsDone(state, evaluations_done);
  if (!state.progress) state.progress = Append(nullptr, image);
}

bool EventOutbox::WantsPreview(int image) {
  const ImageState& state = images_.at(static_cast<size_t>(image));
  if (!state.ended && bytes_ <= max_bytes_ / 4) return true;
  ++previews_dropped_;
  return false;
}

void EventOutbox::PushPreview(SharedEvent preview) {
  const int image = preview->preview().image_index();
  if (!WantsPreview(image)) return;
  ImageState& state = images_[static_cast<size_t>(image)];
  DropPreview(state);
  state.preview = Append(std::move(preview), image);
}

bool EventOutbox::Push(SharedEvent event) {
  const size_t bytes = event->ByteSizeLong();
  if (bytes_ + bytes > max_bytes_) {
    for (ImageState& image : images_) DropPreview(image);
    if (bytes_ + bytes > max_bytes_ && !queue_.empty()) return false;
  }
  if (event->has_image()) {
    ImageState& image = images_.at(static_cast<size_t>(event->image().image_index()));
    image.ended = true;
    SetEvaluationsDone(image, evaluations_per_image_);
  } else if (event->has_image_failure()) {
    images_.at(static_cast<size_t>(event->image_failure().image_index())).ended = true;
  }
  Append(std::move(event), /*image=*/-1);
  return true;
}

SharedEvent EventOutbox::Pop() {
  if (queue_.empty()) return nullptr;
  Entry& entry = queue_.front();
  SharedEvent event = std::move(entry.event);
  if (event == nullptr) {
    event = std::make_shared<const v1::GenerateEvent>(ProgressOf(entry.image));
    images_[static_cast<size_t>(entry.image)].progress.reset();
  } else if (entry.image >= 0) {
    images_[static_cast<size_t>(entry.image)].preview.reset();
  }
  Remove(queue_.begin());
  return event;
}

void EventOutbox::Clear() {
  for (ImageState& image : images_) {
    image.progress.reset();
    image.preview.reset();
  }
  queue_.clear();
  bytes_ = 0;
}

EventOutbox::Queue::iterator EventOutbox::Append(SharedEvent event, int image) {
  const size_t bytes = event == nullptr ? kProgressBytes : event->ByteSizeLong();
  bytes_ += bytes;
  queue_.push_back({std::move(event), image, bytes});
  return std::prev(queue_.end());
}

v1::GenerateEvent EventOutbox::ProgressOf(int image) const {
  v1::GenerateEvent event;
  v1::Progress& progress = *event.mutable_progress();
  progress.set_image_index(image);
  progress.set_evaluations_done(images_[static_cast<size_t>(image)].evaluations_done);
  progress.set_evaluations_total(evaluations_per_image_);
  progress.set_request_evaluations_done(evaluations_done_);
  progress.set_request_evaluations_total(static_cast<int64_t>(images_.size()) *
                                         evaluations_per_image_);
  return event;
}

void EventOutbox::SetEvaluationsDone(ImageState& image, int evaluations_done) {
  evaluations_done_ += evaluations_done - image.evaluations_done;
  image.evaluations_done = evaluations_done;
}

void EventOutbox::Remove(Queue::iterator entry) {
  bytes_ -= entry->bytes;
  queue_.erase(entry);
}

void EventOutbox::DropPreview(ImageState& image) {
  if (!image.preview) return;
  Remove(*image.preview);
  image.preview.reset();
  ++previews_dropped_;
}

}  // namespace skipstream
