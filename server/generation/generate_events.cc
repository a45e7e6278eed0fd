#include "server/generation/generate_events.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace skipstream {
namespace {

void FillImage(EncodedImage image, v1::EncodedImage& proto) {
  proto.set_format(ToProto(image.format));
  proto.set_width(image.width);
  proto.set_height(image.height);
  proto.set_channels(image.channels);
  proto.set_data(std::move(image.data));
}

}  // namespace

v1::GenerateEvent AcceptedEvent(const AcceptedInfo& info) {
  v1::GenerateEvent event;
  v1::Accepted& accepted = *event.mutable_accepted();
  accepted.set_requests_ahead(info.requests_ahead);
  accepted.set_evaluations_ahead(info.evaluations_ahead);
  accepted.set_estimated_seconds(absl::ToDoubleSeconds(info.estimate));
  return event;
}

v1::Preview PreviewOf(int sample, int evaluations_done, EncodedImage image) {
  v1::Preview preview;
  preview.set_image_index(sample);
  preview.set_evaluations_done(evaluations_done);
  FillImage(std::move(image), *preview.mutable_picture());
  return preview;
}

v1::GenerateEvent ImageEvent(const ResolvedGeneration& resolved, int sample,
                             v1::GenerateRequest request, EncodedImage encoded,
                             const SampleTimings& timings) {
  v1::GenerateEvent event;
  v1::Image& image = *event.mutable_image();
  image.set_image_index(sample);
  const SampleSpec& spec = resolved.samples[static_cast<size_t>(sample)];
  image.set_seed(static_cast<uint32_t>(spec.seed));
  if (spec.class_index >= 0) {
    image.set_class_index(spec.class_index);
    const std::vector<std::string>& names = resolved.model->info().class_names;
    if (!names.empty()) image.set_class_name(names[static_cast<size_t>(spec.class_index)]);
  }
  FillImage(std::move(encoded), *image.mutable_picture());
  *image.mutable_resolved_request() = std::move(request);
  image.set_queue_seconds(absl::ToDoubleSeconds(timings.queued));
  image.set_run_seconds(absl::ToDoubleSeconds(timings.running));
  return event;
}

v1::GenerateEvent ImageFailureEvent(int sample, const absl::Status& status) {
  v1::GenerateEvent event;
  v1::ImageFailure& failure = *event.mutable_image_failure();
  failure.set_image_index(sample);
  failure.set_code(static_cast<int>(status.code()));
  failure.set_message(std::string(status.message()));
  return event;
}

}  // namespace skipstream
