// Networks of random values, and rows to evaluate with them.
#ifndef SKIPSTREAM_TESTS_MODEL_FAMILIES_EDM_UNET_RANDOM_MODEL_H_
#define SKIPSTREAM_TESTS_MODEL_FAMILIES_EDM_UNET_RANDOM_MODEL_H_

#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/execution/network.h"
#include "model/families/edm_unet/model_file.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {

// Configurations whose sizes fill no vector, no tile and no pair evenly, and those that do.
inline constexpr const char* kConfigs[] = {
    R"({"model_type": "SongUNet", "img_resolution": 16, "img_channels": 3, "label_dim": 5,
        "model_channels": 32, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8]})",
    R"({"model_type": "SongUNet", "img_resolution": 12, "img_channels": 1, "label_dim": 0,
        "model_channels": 12, "channel_mult": [1, 3, 2], "num_blocks": 2, "attn_resolutions": [6]})",
    R"({"model_type": "SongUNet", "img_resolution": 10, "img_channels": 3, "label_dim": 3,
        "model_channels": 20, "channel_mult": [2, 1], "num_blocks": 1, "attn_resolutions": [5],
        "embedding_type": "fourier", "channel_mult_noise": 2, "augment_dim": 9})",
    // Down to a single pixel, which attends to itself.
    R"({"model_type": "SongUNet", "img_resolution": 4, "img_channels": 3, "label_dim": 0,
        "model_channels": 16, "channel_mult": [1, 1, 2], "num_blocks": 1,
        "attn_resolutions": [2, 1]})",
    R"({"model_type": "DhariwalUNet", "img_resolution": 8, "img_channels": 3, "label_dim": 4,
        "model_channels": 32, "channel_mult": [1, 4], "num_blocks": 1, "attn_resolutions": [4]})",
    R"({"model_type": "DhariwalUNet", "img_resolution": 12, "img_channels": 3, "label_dim": 0,
        "model_channels": 24, "channel_mult": [1, 4, 8], "num_blocks": 2,
        "attn_resolutions": [6, 3]})",
};

ModelDescription Describe(const std::string& config);

// A model file of that configuration, of random values that keep the features' size.
EditableModel RandomModel(const std::string& config);

// Rows that differ in everything.
struct Rows {
  Rows(const NetworkInfo& info, int count);

  std::vector<float> Denoised(const Network& network) const;
  std::vector<float> DenoisedAlone(const Network& network, int row) const;

  at::Tensor x;
  std::vector<std::vector<float>> rho;
  std::vector<DenoiserRow> rows;
};

double RootMeanSquare(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_FAMILIES_EDM_UNET_RANDOM_MODEL_H_
