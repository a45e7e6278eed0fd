#ifndef SKIPSTREAM_BENCH_EXECUTOR_RANDOM_MODEL_H_
#define SKIPSTREAM_BENCH_EXECUTOR_RANDOM_MODEL_H_

#include <string>

#include "absl/status/status.h"

namespace skipstream::bench {

// The published configurations there is a random model of: "cifar10" (DDPM++, 55.7 million
// parameters) and "imagenet64" (ADM, 295.9 million); empty for another name.
std::string PublishedConfig(const std::string& name);

// Writes a model file of a configuration with random values, which keep the size of features.
absl::Status WriteRandomModel(const std::string& config, const std::string& path);

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_EXECUTOR_RANDOM_MODEL_H_
