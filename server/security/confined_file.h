// Opens files of one directory only, whatever their names lead to.
#ifndef SKIPSTREAM_SERVER_SECURITY_CONFINED_FILE_H_
#define SKIPSTREAM_SERVER_SECURITY_CONFINED_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace skipstream {

// Holds on to a regular file below a directory. Its name is resolved before any of it is opened for
// reading, and the file cannot be exchanged afterwards. path() stays that very file even if the
// name gets another one. Move-only.
class ConfinedFile {
 public:
  // Finds the file `name`, which has no '/'. A symbolic link is followed as long as it ends below
  // `directory` (which may be one itself). NotFound if it does not exist, is no regular file, or
  // lies elsewhere.
  static absl::StatusOr<ConfinedFile> Find(const std::string& directory, const std::string& name);

  ConfinedFile(ConfinedFile&& other) noexcept;
  ConfinedFile& operator=(ConfinedFile&& other) noexcept;
  ~ConfinedFile();

  // Returns a path that can be opened while this object lives.
  std::string path() const;
  // Returns the resolved path of the directory, with a '/' at its end.
  const std::string& real_directory() const { return real_directory_; }

 private:
  ConfinedFile(int fd, std::string real_directory);

  int fd_;
  std::string real_directory_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_SECURITY_CONFINED_FILE_H_
