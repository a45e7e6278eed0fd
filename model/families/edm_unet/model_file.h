// Describes the network of a model file, apart from the weights. Torch-free.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_MODEL_FILE_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_MODEL_FILE_H_

#include <map>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "model/families/edm_unet/dhariwal_unet_config.h"
#include "model/families/edm_unet/song_unet_config.h"
#include "model/network_info.h"

namespace skipstream {

using UNetFamilyConfig = std::variant<SongUNetConfig, DhariwalUNetConfig>;

struct ModelDescription {
  UNetFamilyConfig config;
  NetworkInfo info;  // without parameter_count and sha256

  // Returns the channels of the raw network's output.
  int out_channels() const { return info.channels * info.parametrization.outputs_per_channel(); }
  // Returns the options that the families have in common.
  const UNetConfig& unet() const {
    return std::visit([](const auto& family) -> const UNetConfig& { return family; }, config);
  }
};

// Reads the metadata of a model file: `preconditioning` and `config` (required), `classes` (JSON
// list of label_dim different names), `skip_tuning` (model/files/presets.h) and `license`. The
// config's model_type names the family, SongUNet if absent. Other keys are ignored. InvalidArgument
// naming the key and field for anything else; Unimplemented for another model_type.
absl::StatusOr<ModelDescription> ParseModelMetadata(
    const std::map<std::string, std::string>& metadata);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_MODEL_FILE_H_
