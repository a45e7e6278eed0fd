#include "tests/server/transport/transport_harness.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

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

TestModels::TestModels()
    : fruit_executor({.info = FruitInfo()}), grey_executor({.info = GreyInfo()}) {
  registry.Add(LoadedModel::Load(fruit_executor, "fruit", "fruit.safetensors").value())
      .IgnoreError();
  registry.Add(LoadedModel::Load(grey_executor, "grey", "grey.safetensors").value()).IgnoreError();
}

}  // namespace skipstream
