// Compares the product's path, from model file to trajectory, with what the published networks
// computed. The form of a fixture is described in tests/data/reference/README.md.
#ifndef SKIPSTREAM_TOOLS_PARITY_FIXTURE_H_
#define SKIPSTREAM_TOOLS_PARITY_FIXTURE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/network_form.h"

namespace skipstream {

// Largest absolute difference allowed, relative to the largest absolute value.
inline constexpr double kParityTolerance = 2e-5;

struct ParityError {
  std::string tensor;  // of the fixture, without "io."
  double error = 0.0;  // as kParityTolerance; infinite if something is not finite
};

// Runs everything in the fixture through a new executor, in float32. InvalidArgument or
// Unimplemented, naming what is wrong, if the file is not a fixture or holds a network that is not
// supported.
absl::StatusOr<std::vector<ParityError>> MeasureParity(const std::string& path,
                                                       Kernels kernels = Kernels::kAuto);

}  // namespace skipstream

#endif  // SKIPSTREAM_TOOLS_PARITY_FIXTURE_H_
