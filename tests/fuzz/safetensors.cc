// Any bytes as a model file: its header and metadata are refused in words, or every tensor it names
// can be read.
#include "model/files/safetensors.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/types/span.h"
#include "model/families/edm_unet/model_file.h"

namespace skipstream {
namespace {

void ReadAnything(const uint8_t* data, size_t size) {
  const int fd = memfd_create("model", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) std::abort();
  const absl::StatusOr<SafetensorsFile> file =
      SafetensorsFile::Open("/proc/self/fd/" + std::to_string(fd));
  close(fd);
  if (!file.ok()) {
    if (file.status().message().empty()) std::abort();
    return;
  }
  for (const auto& [name, entry] : file->tensors()) {
    std::string bytes(entry.bytes, '\0');
    if (entry.bytes > size || !file->Read(entry, absl::MakeSpan(bytes)).ok()) std::abort();
  }
  const absl::StatusOr<ModelDescription> model = ParseModelMetadata(file->metadata());
  if (!model.ok() && model.status().message().empty()) std::abort();
}

}  // namespace
}  // namespace skipstream

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skipstream::ReadAnything(data, size);
  return 0;
}
