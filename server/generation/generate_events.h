// Makes the messages that report the events of a request.
#ifndef SKIPSTREAM_SERVER_GENERATION_GENERATE_EVENTS_H_
#define SKIPSTREAM_SERVER_GENERATION_GENERATE_EVENTS_H_

#include "absl/status/status.h"
#include "base/image/image_encoder.h"
#include "server/engine/generation_job.h"
#include "server/request/request_resolver.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

v1::GenerateEvent AcceptedEvent(const AcceptedInfo& info);
v1::Preview PreviewOf(int sample, int evaluations_done, EncodedImage image);
// Makes the event of an image; `request` makes exactly this image.
v1::GenerateEvent ImageEvent(const ResolvedGeneration& resolved, int sample,
                             v1::GenerateRequest request, EncodedImage encoded,
                             const SampleTimings& timings);
v1::GenerateEvent ImageFailureEvent(int sample, const absl::Status& status);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_GENERATE_EVENTS_H_
