#include "tests/model/families/edm_unet/random_model.h"

#include <cmath>
#include <random>

#include "ATen/ops/empty.h"
#include "gtest/gtest.h"
#include "tests/model/families/edm_unet/shape_recorder.h"

namespace skipstream {

ModelDescription Describe(const std::string& config) {
  const auto model = ParseModelMetadata({{"preconditioning", "EDMPrecond"}, {"config", config}});
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

EditableModel RandomModel(const std::string& config) {
  EditableModel model;
  model.metadata = {{"preconditioning", "EDMPrecond"}, {"config", config}};
  std::mt19937 generator(7);
  const ShapeRecorder recorder = ShapeRecorder::Of(Describe(config));
  for (const auto& [name, shape] : recorder.shapes()) {
    const int64_t elements = ShapeRecorder::Elements(shape);
    const double fan_in =
        shape.size() > 1 ? static_cast<double>(elements) / static_cast<double>(shape[0]) : 4.0;
    std::normal_distribution<float> normal(0.0f, static_cast<float>(1.0 / std::sqrt(fan_in)));
    EditableModel::Tensor& tensor = model.tensors[name];
    tensor.dtype = "F32";
    tensor.shape = shape;
    std::vector<float> values(elements);
    for (float& value : values) value = normal(generator);
    tensor.bytes.assign(reinterpret_cast<const char*>(values.data()),
                        values.size() * sizeof(float));
  }
  return model;
}

Rows::Rows(const NetworkInfo& info, int count)
    : x(at::empty({count, info.channels, info.height, info.width}, at::kFloat)) {
  std::mt19937 generator(11);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<float>()[i] = normal(generator);
  for (int b = 0; b < count; ++b) {
    auto& own = rho.emplace_back(info.num_skips);
    for (int k = 0; k < info.num_skips; ++k) {
      own[k] = 0.5f + 0.1f * static_cast<float>((b + k) % 9);
    }
  }
  for (int b = 0; b < count; ++b) {
    const double sigma = 0.05 * std::pow(3.0, b % 6);
    rows.push_back(
        {sigma, sigma, info.num_classes > 0 ? b % (info.num_classes + 1) - 1 : -1, rho[b]});
  }
}

std::vector<float> Rows::Denoised(const Network& network) const {
  const at::Tensor d = network.Denoise(x, rows);
  return {d.const_data_ptr<float>(), d.const_data_ptr<float>() + d.numel()};
}

std::vector<float> Rows::DenoisedAlone(const Network& network, int row) const {
  const at::Tensor d = network.Denoise(x.narrow(0, row, 1).contiguous(), {&rows[row], 1});
  return {d.const_data_ptr<float>(), d.const_data_ptr<float>() + d.numel()};
}

double RootMeanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

}  // namespace skipstream
