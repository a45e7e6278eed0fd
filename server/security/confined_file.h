// A file of one directory, whatever its name leads to.
#ifndef SKIPSTREAM_SERVER_SECURITY_CONFINED_FILE_H_
#define SKIPSTREAM_SERVER_SECURITY_CONFINED_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace skipstream {

// Holds on to a regular file below a directory. What its name leads to is settled before anything
// of it is opened for reading, and cannot be exchanged afterwards: path() stays that very file even
// if the name gets another one. Move-only.
class ConfinedFile {
 public:
  // `name` has no '/'. A symbolic link is followed as long as it ends below `directory` (which may
  // be one itself). NotFound for what is not there, is no regular file, or lies elsewhere.
  static absl::StatusOr<ConfinedFile> Find(const std::string& directory, const std::string& name);

  ConfinedFile(ConfinedFile&& other) noexcept;
  ConfinedFile& operator=(ConfinedFile&& other) noexcept;
  ~ConfinedFile();

  // To be opened while this object lives.
  std::string path() const;
  // Where the directory really is, with a '/' at its end.
  const std::string& real_directory() const { return real_directory_; }

 private:
  ConfinedFile(int fd, std::string real_directory);

  int fd_;
  std::string real_directory_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_SECURITY_CONFINED_FILE_H_
