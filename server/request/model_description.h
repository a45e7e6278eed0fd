// Describes models in messages of the API.
#ifndef SKIPSTREAM_SERVER_REQUEST_MODEL_DESCRIPTION_H_
#define SKIPSTREAM_SERVER_REQUEST_MODEL_DESCRIPTION_H_

#include "server/engine/model_registry.h"
#include "server/request/request_limits.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

v1::ModelSummary SummarizeModel(const LoadedModel& model, bool is_default);
v1::GetModelResponse DescribeModel(const LoadedModel& model, bool is_default,
                                   const RequestLimits& limits);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_MODEL_DESCRIPTION_H_
