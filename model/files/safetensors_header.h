// Parses the JSON header of a .safetensors file without trusting it. Internal to safetensors.cc.
#ifndef SKIPSTREAM_MODEL_FILES_SAFETENSORS_HEADER_H_
#define SKIPSTREAM_MODEL_FILES_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/files/safetensors.h"

namespace skipstream {

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;  // offsets from the start of the data
  std::map<std::string, std::string> metadata;
};

// Parses a header. `data_bytes` is the number of bytes that follow it in the file. The messages do
// not name the file.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view json,
                                                         uint64_t data_bytes);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FILES_SAFETENSORS_HEADER_H_
