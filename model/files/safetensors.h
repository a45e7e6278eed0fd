// Reads .safetensors files strictly: an 8-byte little-endian header length, a JSON header that
// names every tensor, then the tensors' bytes.
//
// A file is hostile until proven otherwise. Nothing is allocated on the word of the header alone:
// sizes are checked against the file before anything is read. The tensors are read one by one into
// memory that the caller provides. (The file is read, not mapped: truncating a mapped file kills
// the process that reads it.)
#ifndef SKIPSTREAM_MODEL_FILES_SAFETENSORS_H_
#define SKIPSTREAM_MODEL_FILES_SAFETENSORS_H_

#include <cstdint>
#include <ctime>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace skipstream {

struct SafetensorsEntry {
  std::string dtype;           // as the format spells it, e.g. "F32"
  std::vector<int64_t> shape;  // empty: a scalar
  uint64_t offset = 0;         // of the first byte, from the start of the file
  uint64_t bytes = 0;
};

// Holds an open file whose header has been checked. Move-only; its const methods may run on several
// threads at once.
class SafetensorsFile {
 public:
  // Opens a file and checks its header. The header must lie inside the file and be at most
  // kMaxHeaderBytes of JSON in the format's form without duplicate keys. Every dtype must be known,
  // and every tensor must have the bytes that its dtype and shape need. The tensors must fill the
  // rest of the file without holes or overlaps. Else InvalidArgument names the file and the tensor
  // or field. NotFound or PermissionDenied if it cannot be opened.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  const std::string& path() const { return path_; }
  const std::map<std::string, SafetensorsEntry>& tensors() const { return tensors_; }
  // Returns the header's `__metadata__`.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // Fills `out`, which has exactly `entry.bytes` bytes. DataLoss if the file has shrunk meanwhile.
  absl::Status Read(const SafetensorsEntry& entry, absl::Span<char> out) const;

  // Does the same for out.size() bytes from byte `first` of the tensor on.
  absl::Status ReadPart(const SafetensorsEntry& entry, uint64_t first, absl::Span<char> out) const;

  // Returns the SHA-256 of the whole file in lower-case hex. Reads all of it, unless asked to stop:
  // Cancelled.
  absl::StatusOr<std::string> Sha256(const std::stop_token& stop = {}) const;

  // Returns DataLoss if the file was written to since it was opened. (Giving its name to another
  // file does not count: this object keeps reading the opened file.)
  absl::Status CheckUnchanged() const;

  static constexpr uint64_t kMaxHeaderBytes = 16 << 20;

 private:
  SafetensorsFile(std::string path, int fd);
  absl::Status ReadAt(uint64_t offset, absl::Span<char> out) const;
  absl::Status ParseHeader();

  std::string path_;
  int fd_;
  uint64_t size_ = 0;
  timespec written_{};  // time of the last write to the file
  std::map<std::string, SafetensorsEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FILES_SAFETENSORS_H_
