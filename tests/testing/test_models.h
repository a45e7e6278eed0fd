// Models and requests for tests of the transport. Knows protobuf but not gRPC.
#ifndef SKIPSTREAM_TESTS_TESTING_TEST_MODELS_H_
#define SKIPSTREAM_TESTS_TESTING_TEST_MODELS_H_

#include <string>

#include "model/network_info.h"
#include "server/engine/model_registry.h"
#include "skipstream/v1/image_generation.pb.h"
#include "tests/testing/puppet_executor.h"

namespace skipstream {

// Parses protobuf text format.
v1::GenerateRequest Request(const std::string& text);

// RGB 4x4, 10 classes ("apple", "banana", ...), K = 4, presets "default" (any solver, NFE 9 and 35)
// and "sharp" (euler).
NetworkInfo FruitInfo();
// Grey 8x4, no classes, K = 3, sigma 0.02 to 100.
NetworkInfo GreyInfo();

// As fruit, but trained with label dropout, K = 6.
NetworkInfo DropoutInfo();
// As fruit, but a consistency model: sigma 0.004 to 80, no levels beyond.
NetworkInfo DistilledInfo();
// RGB 4x4, no classes, K = 4; knows the levels 64, 32, 16, ..., 2^-5 only.
NetworkInfo SteppedInfo();

// A registry with "fruit" (the default), "grey", "dropout", "distilled" and "stepped".
struct TestModels {
  TestModels();

  PuppetExecutor fruit_executor;
  PuppetExecutor grey_executor;
  PuppetExecutor dropout_executor;
  PuppetExecutor distilled_executor;
  PuppetExecutor stepped_executor;
  ModelRegistry registry;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_TESTING_TEST_MODELS_H_
