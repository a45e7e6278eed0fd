// Edits a model file in memory: made from a parity fixture, written back with the header that the
// test wants. Shares no code with the loader under test.
#ifndef SKIPSTREAM_TESTS_MODEL_FILES_EDITABLE_MODEL_H_
#define SKIPSTREAM_TESTS_MODEL_FILES_EDITABLE_MODEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace skipstream {

inline constexpr char kDdpmppEdmFixture[] = "tests/data/reference/ddpmpp-edm.safetensors";
inline constexpr char kDdpmppVpFixture[] = "tests/data/reference/ddpmpp-vp.safetensors";
inline constexpr char kNcsnppVeFixture[] = "tests/data/reference/ncsnpp-ve.safetensors";
inline constexpr char kAdmEdmFixture[] = "tests/data/reference/adm-edm.safetensors";
inline constexpr char kSongVeSkipFixture[] =
    "tests/data/reference/variant-song-ve-skip.safetensors";
inline constexpr char kSongEdmResidualFixture[] =
    "tests/data/reference/variant-song-edm-residual.safetensors";
inline constexpr char kAdmIddpmFixture[] = "tests/data/reference/variant-adm-iddpm.safetensors";
inline constexpr char kAdmCmFixture[] = "tests/data/reference/variant-adm-cm.safetensors";

class EditableModel {
 public:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };

  // The network of a fixture under the names of a model file.
  static EditableModel Whole(const std::string& fixture) { return FromFixture(fixture, 1); }
  // The same with every width divided by 8: a file of tens of kilobytes that is still a whole
  // network, though an ADM one is too narrow for attention then.
  static EditableModel Small(const std::string& fixture);

  // Changes one key of the `config` metadata.
  void SetConfig(const std::string& key, const nlohmann::json& value);
  // Sets element `index` of a float32 tensor.
  void SetElement(const std::string& name, size_t index, float value);

  // The header that describes the tensors as they are, offsets in the order of the names.
  nlohmann::json Header() const;
  // The tensors' bytes in the same order.
  std::string Data() const;
  std::string Serialize() const { return Assemble(Header().dump(), Data()); }
  static std::string Assemble(const std::string& header, const std::string& data);

  std::map<std::string, std::string> metadata;
  std::map<std::string, Tensor> tensors;

 private:
  static EditableModel FromFixture(const std::string& fixture, int64_t shrink);
};

std::string ReadFile(const std::string& path);

// Writes a new file for every call and returns its path.
std::string WriteTemporaryFile(const std::string& contents);

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_FILES_EDITABLE_MODEL_H_
