#include "model/execution/device_list.h"

#include <algorithm>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace skipstream {

absl::StatusOr<std::vector<int>> ParseDevices(const std::string& devices, int num_gpus) {
  if (devices == "cpu") return std::vector<int>();
  if (devices == "auto" || devices == "cuda") {
    if (num_gpus == 0 && devices == "cuda") return absl::NotFoundError("there is no GPU");
    std::vector<int> all(num_gpus);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  std::vector<int> chosen;
  for (absl::string_view name : absl::StrSplit(devices, ',')) {
    int index = -1;
    if (!absl::ConsumePrefix(&name, "cuda:") || !absl::SimpleAtoi(name, &index) || index < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "must be auto, cpu, cuda, or GPUs such as cuda:0,cuda:1, got '", devices, "'"));
    }
    if (std::find(chosen.begin(), chosen.end(), index) != chosen.end()) {
      return absl::InvalidArgumentError(absl::StrCat("names cuda:", index, " twice"));
    }
    chosen.push_back(index);
  }
  for (const int index : chosen) {
    if (index >= num_gpus) {
      return absl::NotFoundError(
          absl::StrCat("there is no cuda:", index, "; the number of GPUs is ", num_gpus));
    }
  }
  return chosen;
}

}  // namespace skipstream
