#include "bench/executor/random_model.h"

#include <cmath>
#include <cstdint>
#include <fstream>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "model/families/edm_unet/model_file.h"
#include "tests/model/families/edm_unet/shape_recorder.h"

namespace skipstream::bench {

std::string PublishedConfig(const std::string& name) {
  if (name == "cifar10") {
    return R"({"model_type": "SongUNet", "img_resolution": 32, "img_channels": 3, "label_dim": 0,
               "model_channels": 128, "channel_mult": [2, 2, 2], "num_blocks": 4,
               "attn_resolutions": [16]})";
  }
  if (name == "imagenet64") {
    return R"({"model_type": "DhariwalUNet", "img_resolution": 64, "img_channels": 3,
               "label_dim": 1000, "model_channels": 192, "channel_mult": [1, 2, 3, 4],
               "num_blocks": 3, "attn_resolutions": [32, 16, 8]})";
  }
  return "";
}

absl::Status WriteRandomModel(const std::string& config, const std::string& path) {
  const absl::StatusOr<ModelDescription> model =
      ParseModelMetadata({{"preconditioning", "EDMPrecond"}, {"config", config}});
  if (!model.ok()) return model.status();
  const ShapeRecorder recorder = ShapeRecorder::Of(*model);
  std::string text = recorder.Header(config).dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto length = static_cast<uint64_t>(text.size());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  std::minstd_rand generator(7);
  for (const auto& [name, shape] : recorder.shapes()) {
    const auto elements = static_cast<size_t>(ShapeRecorder::Elements(shape));
    const double fan_in = shape.size() > 1 ? static_cast<double>(elements) / shape[0] : 4.0;
    const auto bound = static_cast<float>(std::sqrt(3.0 / fan_in));
    std::uniform_real_distribution<float> uniform(-bound, bound);
    std::vector<float> values(elements);
    for (float& value : values) value = uniform(generator);
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(elements * sizeof(float)));
  }
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

}  // namespace skipstream::bench
