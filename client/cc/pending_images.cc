#include "client/cc/pending_images.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace skipstream::client {
namespace {

// More than any server makes in one request; keeps an absurd count from being expanded here.
constexpr int64_t kMaxPinnedImages = 1 << 16;

constexpr size_t kMaxRequestIdBytes = 128;  // GenerateRequest.request_id

}  // namespace

int64_t ImageCount(const v1::GenerateRequest& request) {
  if (request.has_count()) return request.count();
  return std::max({request.seeds_size(), request.classes_size(), 1});
}

bool PinSeeds(v1::GenerateRequest& request, absl::FunctionRef<uint32_t()> draw_seed) {
  const int64_t count = ImageCount(request);
  const int64_t seeds = request.seeds_size();
  const int64_t classes = request.classes_size();
  if (count < 1 || count > kMaxPinnedImages) return false;
  if (seeds > 1 && seeds != count) return false;
  if (classes > 1 && classes != count) return false;
  request.set_count(static_cast<int32_t>(count));
  for (int64_t i = seeds; i < count; ++i) {
    request.add_seeds(seeds == 1 ? request.seeds(0) + static_cast<uint32_t>(i) : draw_seed());
  }
  return true;
}

PendingImages::PendingImages(v1::GenerateRequest request, bool pinned)
    : request_(std::move(request)), pinned_(pinned) {
  if (!pinned_) return;
  unsettled_.resize(request_.count());
  std::iota(unsettled_.begin(), unsettled_.end(), 0);
}

v1::GenerateRequest PendingImages::NextAttempt() {
  in_attempt_ = unsettled_;
  const bool whole = !pinned_ || static_cast<int>(unsettled_.size()) == request_.count();
  if (whole) return request_;

  v1::GenerateRequest rest = request_;
  rest.set_request_id(IdOfRest());
  rest.set_count(static_cast<int32_t>(unsettled_.size()));
  rest.clear_seeds();
  for (int index : unsettled_) rest.add_seeds(request_.seeds(index));
  if (request_.classes_size() > 1) {
    rest.clear_classes();
    for (int index : unsettled_) *rest.add_classes() = request_.classes(index);
  }
  if (!delivered_.empty()) {
    const v1::GenerateRequest& known = delivered_.begin()->second;
    rest.set_model(known.model());
    rest.set_model_sha256(known.model_sha256());
    if (!known.guidance().guide_model().empty()) {
      rest.mutable_guidance()->set_guide_model_sha256(known.guidance().guide_model_sha256());
    }
  }
  return rest;
}

std::string PendingImages::IdOfRest() const {
  if (request_.request_id().empty()) return "";
  const size_t missing = std::hash<std::string>()(absl::StrJoin(unsettled_, ","));
  std::string id = absl::StrCat(request_.request_id(), "~", absl::Hex(missing, absl::kZeroPad16));
  return id.size() <= kMaxRequestIdBytes ? id : "";  // without one it is only less well protected
}

int64_t PendingImages::OriginalIndex(int index) const {
  const bool mapped = index >= 0 && index < static_cast<int>(in_attempt_.size());
  return mapped ? in_attempt_[index] : index;
}

bool PendingImages::Settle(int index) {
  if (!pinned_) return true;
  const auto it = std::find(unsettled_.begin(), unsettled_.end(), index);
  if (it == unsettled_.end()) return false;
  unsettled_.erase(it);
  return true;
}

bool PendingImages::Rewrite(v1::GenerateEvent& event) {
  switch (event.event_case()) {
    case v1::GenerateEvent::kProgress:
      event.mutable_progress()->set_image_index(OriginalIndex(event.progress().image_index()));
      RewriteProgress(*event.mutable_progress());
      return true;
    case v1::GenerateEvent::kPreview:
      event.mutable_preview()->set_image_index(OriginalIndex(event.preview().image_index()));
      return true;
    case v1::GenerateEvent::kImage: {
      v1::Image& image = *event.mutable_image();
      image.set_image_index(OriginalIndex(image.image_index()));
      if (!Settle(image.image_index())) return false;
      delivered_[image.image_index()] = image.resolved_request();
      return true;
    }
    case v1::GenerateEvent::kImageFailure: {
      v1::ImageFailure& failure = *event.mutable_image_failure();
      failure.set_image_index(OriginalIndex(failure.image_index()));
      return Settle(failure.image_index());
    }
    case v1::GenerateEvent::kCompleted: {
      // A later attempt knows only the images it was asked for.
      const bool whole = !pinned_ || static_cast<int>(in_attempt_.size()) == request_.count();
      if (!whole && !delivered_.empty()) {
        *event.mutable_completed()->mutable_resolved_request() = ResolvedRequest();
      }
      return true;
    }
    default:
      return true;
  }
}

void PendingImages::RewriteProgress(v1::Progress& progress) const {
  if (!pinned_) return;
  const int64_t earlier = request_.count() - static_cast<int64_t>(in_attempt_.size());
  const int64_t done_earlier = earlier * progress.evaluations_total();
  progress.set_request_evaluations_done(progress.request_evaluations_done() + done_earlier);
  progress.set_request_evaluations_total(progress.request_evaluations_total() + done_earlier);
}

v1::GenerateRequest PendingImages::ResolvedRequest() const {
  v1::GenerateRequest resolved = delivered_.begin()->second;
  resolved.set_count(static_cast<int32_t>(delivered_.size()));
  resolved.clear_seeds();
  resolved.clear_classes();
  for (const auto& [index, image_request] : delivered_) {
    resolved.mutable_seeds()->MergeFrom(image_request.seeds());
    resolved.mutable_classes()->MergeFrom(image_request.classes());
  }
  return resolved;
}

}  // namespace skipstream::client
