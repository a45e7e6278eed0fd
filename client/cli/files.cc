#include "client/cli/files.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace skipstream::cli {

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": it is a folder"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", strerror(errno)));
  std::string data;
  std::array<char, 1 << 16> chunk;
  while (in.read(chunk.data(), chunk.size()) || in.gcount() > 0) {
    data.append(chunk.data(), static_cast<size_t>(in.gcount()));
    if (data.size() > max_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read ", path, ": it is larger than ", max_bytes, " bytes"));
    }
  }
  if (in.bad()) return absl::InternalError(absl::StrCat("cannot read ", path));
  return data;
}

absl::Status CheckFolderOf(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (folder.empty() || std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("cannot write ", path, ": the folder ", folder.string(), " does not exist"));
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view data) {
  if (absl::Status status = CheckFolderOf(path); !status.ok()) return status;
  const std::filesystem::path target(path);
  const std::filesystem::path temporary =
      target.parent_path() / absl::StrCat(".", target.filename().string(), ".", getpid(), ".tmp");
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out.write(data.data(), static_cast<std::streamsize>(data.size()));
  out.close();
  std::error_code error;
  if (!out) {
    const std::string why = strerror(errno);
    std::filesystem::remove(temporary, error);
    return absl::InternalError(absl::StrCat("cannot write ", path, ": ", why));
  }
  std::filesystem::rename(temporary, target, error);
  if (error) {
    const std::string why = error.message();
    std::filesystem::remove(temporary, error);
    return absl::InternalError(absl::StrCat("cannot write ", path, ": ", why));
  }
  return absl::OkStatus();
}

}  // namespace skipstream::cli
