// Spoils model files in every part: raw bytes, the header's length, its JSON, tensors, metadata.
#ifndef SKIPSTREAM_TESTS_MODEL_FILES_MODEL_FILE_MUTATOR_H_
#define SKIPSTREAM_TESTS_MODEL_FILES_MODEL_FILE_MUTATOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/model/files/editable_model.h"

namespace skipstream {

class ModelFileMutator {
 public:
  explicit ModelFileMutator(uint32_t seed) : random_(seed) {}

  // The bytes of a file made of `good` by some changes, mostly of one kind.
  std::string Mutate(const EditableModel& good);

 private:
  size_t Below(size_t bound) { return random_() % bound; }
  template <typename T>
  const T& One(const std::vector<T>& values) {
    return values[Below(values.size())];
  }

  nlohmann::json Number();
  std::string Text();
  nlohmann::json Value(int depth = 0);
  nlohmann::json Preset();

  void MutateMetadata(EditableModel& model);
  void MutateConfig(std::string& config);
  void MutateModel(EditableModel& model);
  std::map<std::string, EditableModel::Tensor>::iterator AnyTensor(EditableModel& model);
  void MutateTensors(nlohmann::json& header);
  void RepeatKey(const nlohmann::json& header, std::string& text);
  void MutateLength(std::string& file);
  void MutateBytes(std::string& file, size_t head);

  std::mt19937 random_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_FILES_MODEL_FILE_MUTATOR_H_
