// What a model file says about its network, apart from the weights. Torch-free.
#ifndef SKIPSTREAM_MODEL_NETWORK_MODEL_FILE_H_
#define SKIPSTREAM_MODEL_NETWORK_MODEL_FILE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "model/network/preconditioning.h"
#include "model/network/song_unet_config.h"
#include "model/network_info.h"

namespace skipstream {

struct ModelDescription {
  SongUNetConfig config;
  Preconditioning preconditioning;
  NetworkInfo info;  // without parameter_count and sha256
};

// Reads the metadata of a model file: `preconditioning` and `config` (required), `classes` (JSON
// list of label_dim different names), `skip_tuning` (model/network/presets.h) and `license`. Other
// keys are ignored. InvalidArgument or Unimplemented naming the key and field for anything else.
absl::StatusOr<ModelDescription> ParseModelMetadata(
    const std::map<std::string, std::string>& metadata);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_MODEL_FILE_H_
