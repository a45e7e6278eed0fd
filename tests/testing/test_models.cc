#include "tests/testing/test_models.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

namespace skipstream {

v1::GenerateRequest Request(const std::string& text) {
  v1::GenerateRequest request;
  if (!google::protobuf::TextFormat::ParseFromString(text, &request)) {
    throw std::invalid_argument("not a GenerateRequest: " + text);
  }
  return request;
}

NetworkInfo FruitInfo() {
  NetworkInfo info = PuppetExecutor::DefaultInfo();
  info.class_names = {"apple", "banana", "cherry", "date",  "elderberry",
                      "fig",   "grape",  "kiwi",   "lemon", "mango"};
  info.license = "CC0-1.0";
  info.presets = {
      {.name = "default", .solver = "", .nfe = 9, .tuning = {UniformDepth{0.9}, ConstantNoise{}}},
      {.name = "default",
       .solver = "",
       .nfe = 35,
       .tuning = {LinearDepth{0.8, 1.1},
                  WindowNoise{5.0, std::numeric_limits<double>::infinity()}}},
      {.name = "sharp",
       .solver = "euler",
       .nfe = 9,
       .tuning = {ExplicitDepth{{1.0, 1.1, 1.2, 1.3}}, RampNoise{false}}},
  };
  return info;
}

NetworkInfo GreyInfo() {
  NetworkInfo info = PuppetExecutor::DefaultInfo();
  info.preconditioning = "VEPrecond";
  info.channels = 1;
  info.height = 4;
  info.width = 8;
  info.num_classes = 0;
  info.num_skips = 3;
  info.sigma_min = 0.02;
  info.sigma_max = 100.0;
  return info;
}

NetworkInfo DropoutInfo() {
  NetworkInfo info = FruitInfo();
  info.label_dropout = 0.1;
  info.num_skips = 6;
  info.presets = {};
  return info;
}

NetworkInfo DistilledInfo() {
  NetworkInfo info = FruitInfo();
  info.preconditioning = "CMPrecond";
  info.sigma_min = 0.004;
  info.sigma_max = 80.0;
  return info;
}

NetworkInfo SteppedInfo() {
  NetworkInfo info = PuppetExecutor::DefaultInfo();
  info.preconditioning = "iDDPMPrecond";
  info.num_classes = 0;
  for (int exponent = 6; exponent >= -5; --exponent) {
    info.sigma_levels.push_back(std::ldexp(1.0, exponent));
  }
  info.sigma_min = info.sigma_levels.back();
  info.sigma_max = info.sigma_levels.front();
  return info;
}

TestModels::TestModels()
    : fruit_executor({.info = FruitInfo()}),
      grey_executor({.info = GreyInfo()}),
      dropout_executor({.info = DropoutInfo()}),
      distilled_executor({.info = DistilledInfo()}),
      stepped_executor({.info = SteppedInfo()}) {
  const auto add = [this](PuppetExecutor& executor, const std::string& name) {
    registry.Add(LoadedModel::Load(executor, name, name + ".safetensors").value()).IgnoreError();
  };
  add(fruit_executor, "fruit");
  add(grey_executor, "grey");
  add(dropout_executor, "dropout");
  add(distilled_executor, "distilled");
  add(stepped_executor, "stepped");
}

}  // namespace skipstream
