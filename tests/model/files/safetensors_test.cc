#include "model/files/safetensors.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <stop_token>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Two tensors: 'a' [2] at bytes 0..8 and 'b' [1] at bytes 8..12.
nlohmann::json TwoTensors() {
  return nlohmann::json::parse(R"({
    "__metadata__": {"note": "hello"},
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}})");
}
const std::string kTwelveBytes(12, '\1');

absl::Status OpenContents(const std::string& contents) {
  const std::string path = WriteTemporaryFile(contents);
  const absl::Status status = SafetensorsFile::Open(path).status();
  unlink(path.c_str());
  if (!status.ok()) {
    EXPECT_THAT(std::string(status.message()), StartsWith(path));
  }
  return status;
}

void ExpectRefused(const std::string& contents, const std::string& message) {
  const absl::Status status = OpenContents(contents);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

void ExpectHeaderRefused(const nlohmann::json& header, const std::string& message) {
  ExpectRefused(EditableModel::Assemble(header.dump(), kTwelveBytes), message);
}

TEST(SafetensorsTest, ReadsTensorsAndMetadataOfAWholeFile) {
  const std::string data("\1\2\3\4\5\6\7\10abcd", 12);
  const std::string path =
      WriteTemporaryFile(EditableModel::Assemble(TwoTensors().dump() + "   ", data));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata().at("note"), "hello");
  const SafetensorsEntry& b = file->tensors().at("b");
  EXPECT_EQ(b.dtype, "F32");
  EXPECT_EQ(b.shape, std::vector<int64_t>{1});
  std::string bytes(4, '\0');
  ASSERT_TRUE(file->Read(b, absl::MakeSpan(bytes.data(), bytes.size())).ok());
  EXPECT_EQ(bytes, "abcd");
  std::string part(3, '\0');
  const SafetensorsEntry& a = file->tensors().at("a");
  ASSERT_TRUE(file->ReadPart(a, 2, absl::MakeSpan(part.data(), part.size())).ok());
  EXPECT_EQ(part, "\3\4\5");
  for (const uint64_t first : {uint64_t{6}, uint64_t{9}, std::numeric_limits<uint64_t>::max()}) {
    EXPECT_EQ(file->ReadPart(a, first, absl::MakeSpan(part.data(), part.size())).code(),
              absl::StatusCode::kInternal)
        << first;
  }
  unlink(path.c_str());
}

TEST(SafetensorsTest, HashesTheWholeFile) {
  const std::string path = WriteTemporaryFile(EditableModel::Assemble("{}", ""));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  // printf '\2\0\0\0\0\0\0\0{}' | sha256sum
  EXPECT_EQ(*file->Sha256(), "411a485216e432ece6b9af94fa32154cf79a2a56d4f81266baa50063f45092bd");
  unlink(path.c_str());
}

TEST(SafetensorsTest, HashingCanBeStopped) {
  const std::string path = WriteTemporaryFile(EditableModel::Assemble("{}", ""));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(file->Sha256(source.get_token()).status().code(), absl::StatusCode::kCancelled);
  unlink(path.c_str());
}

TEST(SafetensorsTest, AFileThatCannotBeOpenedIsNotFound) {
  EXPECT_EQ(SafetensorsFile::Open("/nowhere/model.safetensors").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(SafetensorsTest, OnlyRegularFilesAreOpened) {
  EXPECT_THAT(std::string(SafetensorsFile::Open("/dev/zero").status().message()),
              HasSubstr("not a regular file"));
  EXPECT_FALSE(SafetensorsFile::Open(testing::TempDir()).ok());
  const std::string pipe = testing::TempDir() + "skipstream-pipe-" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(std::string(SafetensorsFile::Open(pipe).status().message()),
              HasSubstr("not a regular file"));
  unlink(pipe.c_str());
}

TEST(SafetensorsTest, AFileThatShrinksIsAnErrorAndNotACrash) {
  const std::string path =
      WriteTemporaryFile(EditableModel::Assemble(TwoTensors().dump(), kTwelveBytes));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(truncate(path.c_str(), 20), 0);
  std::string bytes(8, '\0');
  EXPECT_EQ(file->Read(file->tensors().at("a"), absl::MakeSpan(bytes.data(), bytes.size())).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(file->Sha256().status().code(), absl::StatusCode::kDataLoss);
  unlink(path.c_str());
}

TEST(SafetensorsTest, AFileThatIsWrittenToIsTold) {
  const std::string path =
      WriteTemporaryFile(EditableModel::Assemble(TwoTensors().dump(), kTwelveBytes));
  // Long ago: a write right after that of the test itself may have the same time.
  std::filesystem::last_write_time(path, {});
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->CheckUnchanged(), absl::OkStatus());
  std::fstream(path, std::ios::in | std::ios::out).seekp(-1, std::ios::end).put('x');
  EXPECT_EQ(file->CheckUnchanged().code(), absl::StatusCode::kDataLoss);
  unlink(path.c_str());
}

TEST(SafetensorsTest, AFileThatLosesItsNameToAnotherStaysWhatIsRead) {
  const std::string path =
      WriteTemporaryFile(EditableModel::Assemble(TwoTensors().dump(), kTwelveBytes));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string sha256 = *file->Sha256();
  const std::string other =
      WriteTemporaryFile(EditableModel::Assemble(TwoTensors().dump(), std::string(12, 'x')));
  std::filesystem::rename(other, path);
  EXPECT_EQ(*file->Sha256(), sha256);
  EXPECT_EQ(file->CheckUnchanged(), absl::OkStatus());
  unlink(path.c_str());
}

TEST(SafetensorsTest, TruncationAnywhereIsRefused) {
  const std::string whole = EditableModel::Assemble(TwoTensors().dump(), kTwelveBytes);
  ASSERT_TRUE(OpenContents(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(OpenContents(whole.substr(0, size)).code(), absl::StatusCode::kInvalidArgument)
        << size;
  }
  ExpectRefused("", "too short");
  ExpectRefused(whole + "x", "1 bytes after the last tensor");
}

TEST(SafetensorsTest, HeaderLengthsThatLieAreRefused) {
  ExpectRefused(std::string(8, '\xff') + "{}", "header length 18446744073709551615");
  ExpectRefused(std::string("\3\0\0\0\0\0\0\0{}", 10), "exceeds the file");
  // A file large enough for its giant header is refused by the limit (and is sparse here).
  const std::string path = WriteTemporaryFile(std::string("\1\0\0\1\0\0\0\0{}", 10));
  ASSERT_EQ(truncate(path.c_str(), 64 << 20), 0);
  EXPECT_THAT(std::string(SafetensorsFile::Open(path).status().message()),
              HasSubstr("exceeds the limit"));
  unlink(path.c_str());
}

TEST(SafetensorsTest, HeadersThatAreNotJsonAreRefused) {
  for (const char* header : {"", "{", "nonsense", "{\"a\":}", "{} {}", "{\"\xff\":{}}"}) {
    ExpectRefused(EditableModel::Assemble(header, ""), "not valid JSON");
  }
}

TEST(SafetensorsTest, HeadersOfAnotherFormAreRefusedNamingThePlace) {
  ExpectRefused(EditableModel::Assemble("[]", ""), "must be an object");
  ExpectRefused(EditableModel::Assemble("7", ""), "must be an object");
  ExpectRefused(EditableModel::Assemble(R"({"a": 1})", ""), "'a' is a number");
  ExpectRefused(EditableModel::Assemble(R"({"a": [[]]})", ""), "'a' is a list");
  ExpectRefused(EditableModel::Assemble(R"({"__metadata__": {"k": 1}})", ""),
                "__metadata__ 'k' is a number");
  ExpectRefused(EditableModel::Assemble(R"({"__metadata__": {"k": {}}})", ""), "'k'");
  ExpectRefused(EditableModel::Assemble(R"({"a": {"dtype": {}}})", ""), "tensor 'a': dtype");
  ExpectRefused(EditableModel::Assemble(R"({"a": {"shape": [[1]]}})", ""), "tensor 'a': shape");
  ExpectRefused(EditableModel::Assemble(R"({"a": {"shape": null}})", ""), "tensor 'a': shape");
  nlohmann::json header = TwoTensors();
  header["a"]["extra"] = true;
  ExpectHeaderRefused(header, "tensor 'a': unknown field 'extra'");
  header = TwoTensors();
  header["b"].erase("shape");
  ExpectHeaderRefused(header, "tensor 'b': field 'shape' is missing");
}

TEST(SafetensorsTest, DeepNestingIsRefusedAtOnce) {
  std::string lists(1 << 20, '[');
  ExpectRefused(EditableModel::Assemble(lists, ""), "must be an object");
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  ExpectRefused(EditableModel::Assemble(objects, ""), "'a'");
}

TEST(SafetensorsTest, DuplicateKeysAreRefused) {
  const std::string a = R"("a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]})";
  ExpectRefused(EditableModel::Assemble("{" + a + "," + a + "}", "1234"), "duplicate key 'a'");
  ExpectRefused(EditableModel::Assemble(R"({"__metadata__": {}, "__metadata__": {}})", ""),
                "duplicate key '__metadata__'");
  ExpectRefused(EditableModel::Assemble(R"({"__metadata__": {"k": "1", "k": "2"}})", ""),
                "duplicate key 'k'");
  ExpectRefused(EditableModel::Assemble(R"({"a": {"dtype": "F32", "dtype": "F32"}})", ""),
                "duplicate field 'dtype'");
}

TEST(SafetensorsTest, UnknownDtypesAreRefused) {
  nlohmann::json header = TwoTensors();
  header["a"]["dtype"] = "F31";
  ExpectHeaderRefused(header, "tensor 'a': unknown dtype 'F31'");
}

TEST(SafetensorsTest, ShapesThatDoNotFitTheirBytesAreRefused) {
  nlohmann::json header = TwoTensors();
  header["a"]["shape"] = {3};
  ExpectHeaderRefused(header, "tensor 'a': shape needs 12 bytes, data_offsets span 8");
  header["a"]["shape"] = {-2};
  ExpectHeaderRefused(header, "tensor 'a': shape holds a negative number");
  header["a"]["shape"] = {2.5};
  ExpectHeaderRefused(header, "tensor 'a': shape holds a number that is not a 64-bit integer");
  header["a"]["shape"] = {uint64_t{1} << 63};
  ExpectHeaderRefused(header, "tensor 'a': shape overflows");
  // 2^32 * 2^32 * 4 bytes wraps to 0.
  header["a"]["shape"] = {uint64_t{1} << 32, uint64_t{1} << 32};
  ExpectHeaderRefused(header, "tensor 'a': shape overflows");
  header["a"]["shape"] = std::vector<int>(100, 1);
  ExpectHeaderRefused(header, "tensor 'a': shape has more than 8 dimensions");
}

TEST(SafetensorsTest, OffsetsMustTileTheFile) {
  const auto with_offsets = [](const char* name, const nlohmann::json& shape,
                               const nlohmann::json& offsets) {
    nlohmann::json header = TwoTensors();
    header[name]["shape"] = shape;
    header[name]["data_offsets"] = offsets;
    return header;
  };
  ExpectHeaderRefused(with_offsets("b", {1}, {4, 8}), "overlap");
  ExpectHeaderRefused(with_offsets("a", {1}, {0, 4}), "tensor 'b': data_offsets leave a hole");
  ExpectHeaderRefused(with_offsets("a", {1}, {4, 8}), "tensor 'a': data_offsets leave a hole");
  ExpectHeaderRefused(with_offsets("b", {2}, {8, 16}), "tensor 'b': data_offsets reach beyond");
  ExpectHeaderRefused(with_offsets("b", {1}, {1000, 1004}), "tensor 'b': data_offsets reach");
  ExpectHeaderRefused(with_offsets("b", {1}, {12, 8}), "begin <= end");
  ExpectHeaderRefused(with_offsets("b", {1}, {8}), "tensor 'b': data_offsets must be");
  ExpectHeaderRefused(with_offsets("b", {1}, {8, 12, 16}), "tensor 'b': data_offsets must be");
  const uint64_t huge = std::numeric_limits<uint64_t>::max();
  ExpectHeaderRefused(with_offsets("b", {1}, {huge - 3, huge}), "tensor 'b'");
}

TEST(SafetensorsTest, NamesInMessagesAreEscapedAndCut) {
  nlohmann::json header = TwoTensors();
  header[std::string(5000, 'x') + "\n"] = 1;
  const absl::Status status = OpenContents(EditableModel::Assemble(header.dump(), kTwelveBytes));
  EXPECT_LT(status.message().size(), 500u);
  ExpectRefused(EditableModel::Assemble("{\"\\n\\u0007\": 1}", ""), "'\\n\\x07'");
}

}  // namespace
}  // namespace skipstream
