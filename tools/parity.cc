// parity FILE...: how far the network, with the kernels the server would use and with the reference
// ones, and the sampler are from what the published ones computed.
// Exit status: 0 all within tolerance, 1 some above, 2 some file is not a fixture.
#include <algorithm>
#include <cstdio>
#include <exception>

#include "tools/parity_fixture.h"

namespace {

int Check(const char* path, skipstream::Kernels kernels) {
  const absl::StatusOr<std::vector<skipstream::ParityError>> errors =
      skipstream::MeasureParity(path, kernels);
  if (!errors.ok()) {
    std::fprintf(stderr, "parity: %s\n", errors.status().ToString().c_str());
    return 2;
  }
  int result = 0;
  std::printf("%s, %s kernels\n", path, Name(kernels));
  for (const skipstream::ParityError& error : *errors) {
    const bool within = error.error <= skipstream::kParityTolerance;
    std::printf("  %-20s %.3g%s\n", error.tensor.c_str(), error.error,
                within ? "" : "  above the tolerance");
    if (!within) result = 1;
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: parity FILE...\n");
    return 2;
  }
  int worst = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      for (const auto kernels : {skipstream::Kernels::kAuto, skipstream::Kernels::kReference}) {
        worst = std::max(worst, Check(argv[i], kernels));
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "parity: %s: %s\n", argv[i], error.what());
      worst = 2;
    }
  }
  return worst;
}
