#include "tests/model/files/editable_model.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "gtest/gtest.h"

namespace skipstream {
namespace {

constexpr int64_t kSmallestWidth = 32;  // smaller dimensions are kernels, colours, classes

}  // namespace

EditableModel EditableModel::FromFixture(const std::string& fixture, int64_t shrink) {
  const std::string file = ReadFile(fixture);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
  EditableModel model;
  for (const auto& [name, entry] : header.items()) {
    if (name.rfind("param.", 0) != 0) continue;
    Tensor tensor{"F32", {}, {}};
    int64_t elements = 1;
    for (int64_t dim : entry["shape"].get<std::vector<int64_t>>()) {
      tensor.shape.push_back(dim >= kSmallestWidth ? dim / shrink : dim);
      elements *= tensor.shape.back();
    }
    tensor.bytes = file.substr(8 + length + entry["data_offsets"][0].get<uint64_t>(),
                               static_cast<size_t>(elements) * sizeof(float));
    model.tensors[name.substr(6)] = std::move(tensor);
  }
  model.metadata["preconditioning"] = header["__metadata__"]["preconditioning"];
  model.metadata["config"] = header["__metadata__"]["config"];
  return model;
}

EditableModel EditableModel::Small(const std::string& fixture) {
  constexpr int64_t kShrink = 8;
  EditableModel model = FromFixture(fixture, kShrink);
  const nlohmann::json config = nlohmann::json::parse(model.metadata["config"]);
  model.SetConfig("model_channels", config["model_channels"].get<int64_t>() / kShrink);
  if (config["model_type"] == "DhariwalUNet") {
    std::erase_if(model.tensors, [](const auto& item) {
      const std::string& name = item.first;
      return name.find(".norm2.") != std::string::npos || name.find(".qkv.") != std::string::npos ||
             name.find(".proj.") != std::string::npos;
    });
  }
  return model;
}

void EditableModel::SetConfig(const std::string& key, const nlohmann::json& value) {
  nlohmann::json config = nlohmann::json::parse(metadata["config"]);
  config[key] = value;
  metadata["config"] = config.dump();
}

void EditableModel::SetElement(const std::string& name, size_t index, float value) {
  std::memcpy(tensors.at(name).bytes.data() + index * sizeof(float), &value, sizeof(float));
}

nlohmann::json EditableModel::Header() const {
  nlohmann::json header;
  header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  return header;
}

std::string EditableModel::Data() const {
  std::string data;
  for (const auto& [name, tensor] : tensors) data += tensor.bytes;
  return data;
}

std::string EditableModel::Assemble(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof(length));
  return file + header + data;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream contents;
  contents << in.rdbuf();
  return contents.str();
}

std::string WriteTemporaryFile(const std::string& contents) {
  static std::atomic<int> counter{0};
  const std::string path = testing::TempDir() + "skipstream-" + std::to_string(getpid()) + "-" +
                           std::to_string(counter++) + ".safetensors";
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

}  // namespace skipstream
