// Parses the choice of devices that evaluate networks. Torch-free.
#ifndef SKIPSTREAM_MODEL_EXECUTION_DEVICE_LIST_H_
#define SKIPSTREAM_MODEL_EXECUTION_DEVICE_LIST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstream {

// Parses a user's choice among the CPU and `num_gpus` GPUs:
//   auto            all GPUs, or the CPU if there is none
//   cpu
//   cuda            all GPUs
//   cuda:0,cuda:2   these
// Returns the GPUs' indices, in the order given; empty: the CPU. InvalidArgument for anything else
// and for a GPU named twice, NotFound for one that is not there.
absl::StatusOr<std::vector<int>> ParseDevices(const std::string& devices, int num_gpus);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_DEVICE_LIST_H_
