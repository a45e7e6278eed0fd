#include "server/transport/event_outbox.h"

#include <iterator>
#include <utility>

namespace skipstream {

EventOutbox::EventOutbox(size_t max_bytes, int num_images, int evaluations_per_image)
    : max_bytes_(max_bytes),
      evaluations_per_image_(evaluations_per_image),
      images_(static_cast<size_t>(num_images)) {}

void EventOutbox::PushProgress(int image, int evaluations_done) {
  ImageState& state = images_.at(static_cast<size_t>(image));
  evaluations_done_ += evaluations_done - state.evaluations_done;
  state.evaluations_done = evaluations_done;
  if (state.progress) return;  // what is waiting is filled in when it leaves
  v1::GenerateEvent event;
  event.mutable_progress()->set_image_index(image);
  state.progress = Append(std::move(event));
}

bool EventOutbox::ReservePreview(int image) {
  ImageState& state = images_.at(static_cast<size_t>(image));
  if (state.ended || state.preview_reserved || bytes_ > max_bytes_ / 4) {
    ++previews_dropped_;
    return false;
  }
  state.preview_reserved = true;
  return true;
}

void EventOutbox::PushPreview(v1::Preview preview) {
  ImageState& state = images_.at(static_cast<size_t>(preview.image_index()));
  state.preview_reserved = false;
  if (state.ended || bytes_ > max_bytes_ / 4) {
    ++previews_dropped_;
    return;
  }
  DropPreview(state);
  v1::GenerateEvent event;
  *event.mutable_preview() = std::move(preview);
  state.preview = Append(std::move(event));
}

bool EventOutbox::Push(v1::GenerateEvent event) {
  const size_t bytes = event.ByteSizeLong();
  if (bytes_ + bytes > max_bytes_) {
    for (ImageState& image : images_) DropPreview(image);
    if (bytes_ + bytes > max_bytes_ && !queue_.empty()) return false;
  }
  if (event.has_image()) {
    images_.at(static_cast<size_t>(event.image().image_index())).ended = true;
  } else if (event.has_image_failure()) {
    images_.at(static_cast<size_t>(event.image_failure().image_index())).ended = true;
  }
  Append(std::move(event));
  return true;
}

std::optional<v1::GenerateEvent> EventOutbox::Pop() {
  if (queue_.empty()) return std::nullopt;
  v1::GenerateEvent event = std::move(queue_.front().event);
  if (event.has_progress()) {
    v1::Progress& progress = *event.mutable_progress();
    ImageState& state = images_[static_cast<size_t>(progress.image_index())];
    progress.set_evaluations_done(state.evaluations_done);
    progress.set_evaluations_total(evaluations_per_image_);
    progress.set_request_evaluations_done(evaluations_done_);
    progress.set_request_evaluations_total(static_cast<int64_t>(images_.size()) *
                                           evaluations_per_image_);
    state.progress.reset();
  } else if (event.has_preview()) {
    images_[static_cast<size_t>(event.preview().image_index())].preview.reset();
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

EventOutbox::Queue::iterator EventOutbox::Append(v1::GenerateEvent event) {
  const size_t bytes = event.ByteSizeLong();
  bytes_ += bytes;
  queue_.push_back({std::move(event), bytes});
  return std::prev(queue_.end());
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
