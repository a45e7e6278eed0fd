#include "client/cli/flags/request_file.h"

#include <google/protobuf/util/json_util.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "client/cli/output/image_codec.h"

namespace skipstream::cli {
namespace {

constexpr absl::string_view kPngSignature = "\x89PNG\r\n\x1a\n";
constexpr absl::string_view kRequestKeyword = "skipstream.request";
constexpr size_t kMaxJsonBytes = 8 << 20;  // a request of 5 MiB, what it carries in base64

absl::Status About(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

absl::StatusOr<v1::GenerateRequest> RequestFromJson(absl::string_view json) {
  v1::GenerateRequest request;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &request);
  if (status.ok()) return request;
  return absl::InvalidArgumentError(
      absl::StrCat("not the JSON of a GenerateRequest: ",
                   absl::string_view(status.message().data(), status.message().size())));
}

absl::StatusOr<v1::GenerateRequest> LoadRequest(const std::string& path) {
  absl::StatusOr<std::string> data = ReadFile(path);
  if (!data.ok()) return data.status();
  if (absl::StartsWith(*data, kPngSignature)) {
    data = ReadPngText(*data, kRequestKeyword);
    if (!data.ok()) return About(path, data.status());
  }
  if (data->size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not the JSON of a GenerateRequest: ", data->size(),
                     " bytes, more than ", kMaxJsonBytes));
  }
  SkipByteOrderMark(*data);
  absl::StatusOr<v1::GenerateRequest> request = RequestFromJson(*data);
  if (!request.ok()) return About(path, request.status());
  return request;
}

}  // namespace skipstream::cli
