#include "client/cc/request_id.h"

#include <cstdint>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"

namespace skipstream::client {

std::string DrawRequestId(absl::BitGenRef random) {
  const auto high = absl::Uniform<uint64_t>(random);
  const auto low = absl::Uniform<uint64_t>(random);
  return absl::StrCat(absl::Hex(high, absl::kZeroPad16), absl::Hex(low, absl::kZeroPad16));
}

std::mt19937 SeedSourceOf(const std::string& request_id) {
  std::seed_seq words(request_id.begin(), request_id.end());
  return std::mt19937(words);
}

}  // namespace skipstream::client
