// A source of parameters that has none: it writes down what a network asks for, and takes no
// memory.
#ifndef SKIPSTREAM_TESTS_MODEL_FAMILIES_EDM_UNET_SHAPE_RECORDER_H_
#define SKIPSTREAM_TESTS_MODEL_FAMILIES_EDM_UNET_SHAPE_RECORDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <variant>

#include "model/families/edm_unet/dhariwal_unet.h"
#include "model/families/edm_unet/model_file.h"
#include "model/families/edm_unet/song_unet.h"
#include "model/nn/parameter_source.h"
#include "nlohmann/json.hpp"

namespace skipstream {

class ShapeRecorder final : public ParameterSource {
 public:
  // Records the tensors that the network of a model asks for.
  static ShapeRecorder Of(const ModelDescription& model) {
    ShapeRecorder recorder;
    const int out_channels = model.info.channels * model.info.parametrization.outputs_per_channel();
    if (const auto* song = std::get_if<SongUNetConfig>(&model.config)) {
      const SongUNet network(*song, out_channels, recorder);
    } else {
      const DhariwalUNet network(std::get<DhariwalUNetConfig>(model.config), out_channels,
                                 recorder);
    }
    return recorder;
  }

  at::Tensor Take(const std::string& name, const Shape& shape) override {
    parameter_count_ += Elements(shape);
    return TakeBuffer(name, shape);
  }
  at::Tensor TakeKernel(const std::string& name, const Shape& shape) override {
    return Take(name, shape);
  }
  at::Tensor TakeBuffer(const std::string& name, const Shape& shape) override {
    shapes_[name] = shape;
    return {};
  }
  void CheckBuffer(const std::string& /*name*/, const Shape& /*shape*/,
                   absl::Span<const double> /*values*/, double /*tolerance*/) override {}
  void Fail(absl::Status status) override {
    if (status_.ok()) status_ = std::move(status);
  }

  const absl::Status& status() const { return status_; }
  const std::map<std::string, Shape>& shapes() const { return shapes_; }
  int64_t parameter_count() const { return parameter_count_; }

  // The header of an EDM model file of this configuration whose float32 data are the tensors in the
  // order of their names.
  nlohmann::json Header(const std::string& config) const {
    nlohmann::json header = {
        {"__metadata__", {{"preconditioning", "EDMPrecond"}, {"config", config}}}};
    int64_t end = 0;
    for (const auto& [name, shape] : shapes_) {
      const int64_t begin = end;
      end += 4 * Elements(shape);
      header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, end}}};
    }
    return header;
  }

  static int64_t Elements(const Shape& shape) {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }

 private:
  absl::Status status_;
  std::map<std::string, Shape> shapes_;
  int64_t parameter_count_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_FAMILIES_EDM_UNET_SHAPE_RECORDER_H_
