// A model file in memory, to be spoilt: made from a parity fixture, written back with the header as
// the test wants it. Shares no code with the reader under test.
#ifndef SKIPSTREAM_TESTS_MODEL_NETWORK_EDITABLE_MODEL_H_
#define SKIPSTREAM_TESTS_MODEL_NETWORK_EDITABLE_MODEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace skipstream {

inline constexpr char kDdpmppEdmFixture[] = "tests/data/reference/ddpmpp-edm.safetensors";
inline constexpr char kDdpmppVpFixture[] = "tests/data/reference/ddpmpp-vp.safetensors";

class EditableModel {
 public:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };

  // The network of a fixture under the names of a model file, every width divided by 8: a file of
  // tens of kilobytes that is still a whole DDPM++ network.
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
};

std::string ReadFile(const std::string& path);

// Writes a file of its own for every call and returns its path.
std::string WriteTemporaryFile(const std::string& contents);

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_NETWORK_EDITABLE_MODEL_H_
