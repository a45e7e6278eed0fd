#include "tests/model/files/model_file_mutator.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

using nlohmann::json;

const std::vector<std::string>& KnownKeys() {
  static const auto* const kKeys =
      new std::vector<std::string>(json::parse(R"(["img_resolution", "img_channels", "label_dim",
          "label_dropout", "augment_dim", "model_channels", "channel_mult", "channel_mult_emb",
          "num_blocks", "attn_resolutions", "dropout", "use_fp16", "model_type", "embedding_type",
          "encoder_type", "decoder_type", "resample_filter", "channel_mult_noise", "sigma_min",
          "sigma_max", "sigma_data", "beta_d", "beta_min", "M", "epsilon_t", "C_1", "C_2",
          "presets", "name", "nfe", "solver", "rho", "rho_bottom", "rho_top", "rho_list", "noise",
          "window", "ramp", "knots", "surprise"])"));
  return *kKeys;
}

std::string Dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

std::string ModelFileMutator::Mutate(const EditableModel& good) {
  EditableModel model = good;
  const size_t where = Below(4);  // 0 is left alone until its bytes change
  if (where == 1) MutateMetadata(model);
  if (where == 2) MutateModel(model);
  json header = model.Header();
  if (where == 3) MutateTensors(header);
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  if (Below(16) == 0) RepeatKey(header, text);
  std::string file = EditableModel::Assemble(text, model.Data());
  if (Below(16) == 0) MutateLength(file);
  if (where == 0 || Below(16) == 0) MutateBytes(file, 8 + text.size());
  return file;
}

// Integers at which sizes wrap, tables end and signs change.
json ModelFileMutator::Number() {
  static const auto* const kNumbers =
      new std::vector<json>(json::parse(R"([0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33,
          64, 65, 127, 128, 1023, 1024, 1025, 65535, 65536, 1048576, -1, -2, -128, 0.0, 0.5, 1.5,
          -0.5, 1e-300, 1e300, 2147483647, -2147483648, 4294967295, 4294967296,
          9223372036854775807, 9223372036854775808, 18446744073709551615])"));
  return One(*kNumbers);
}

std::string ModelFileMutator::Text() {
  static const auto* const kTexts = [] {
    auto* texts = new std::vector<std::string>(json::parse(R"(["", "SongUNet", "DhariwalUNet",
        "EvilUNet", "fourier", "positional", "skip", "residual", "standard", "EDMPrecond",
        "VPPrecond", "VEPrecond", "CMPrecond", "iDDPMPrecond", "F32", "F16", "F64", "I64", "heun",
        "euler", "default", "window", "a\u0000b"])"));
    texts->push_back("\xff\xfe");  // no UTF-8
    texts->push_back(std::string(300, 'x'));
    texts->push_back(std::string(70000, '\\'));
    return texts;
  }();
  return One(*kTexts);
}

json ModelFileMutator::Value(int depth) {
  switch (Below(depth > 3 ? 4 : 8)) {
    case 0:
      return Text();
    case 1:
      return nullptr;
    case 2:
      return Below(2) == 0;
    case 3:
      return Number();
    case 4: {
      json list = json::array();
      for (size_t i = Below(Below(10) == 0 ? 200 : 5); i > 0; --i) list.push_back(Value(depth + 1));
      return list;
    }
    case 5: {
      json list = json::array();
      for (size_t i = Below(14); i > 0; --i) list.push_back(Number());
      return list;
    }
    case 6: {
      json object = json::object();
      for (size_t i = Below(4); i > 0; --i) object[One(KnownKeys())] = Value(depth + 1);
      return object;
    }
    default: {
      json nested = Number();
      for (size_t i = Below(20); i > 0; --i) nested = json::array({nested});
      return nested;
    }
  }
}

void ModelFileMutator::MutateConfig(std::string& config) {
  json parsed = json::parse(config, nullptr, false);
  if (!parsed.is_object()) parsed = json::object();
  const std::string& key = One(KnownKeys());
  if (Below(6) == 0) {
    parsed.erase(key);
  } else {
    parsed[key] = Below(2) == 0 ? Number() : Value();
  }
  config = Dumped(parsed);
}

void ModelFileMutator::MutateMetadata(EditableModel& model) {
  for (size_t changes = 1 + Below(3); changes > 0; --changes) {
    switch (Below(8)) {
      case 0:
        model.metadata["preconditioning"] = Text();
        break;
      case 1:
        model.metadata["classes"] = Dumped(Value());
        break;
      case 2:
        model.metadata["skip_tuning"] = Dumped(json{{"presets", json::array({Preset()})}});
        break;
      case 3: {
        static const auto* const kKeys = new std::vector<std::string>{
            "config", "preconditioning", "classes", "skip_tuning", "license"};
        const std::string& key = One(*kKeys);
        if (Below(2) == 0) {
          model.metadata.erase(key);
        } else {
          model.metadata[key] = Below(2) == 0 ? Text() : Dumped(Value());
        }
        break;
      }
      case 4: {
        std::string& config = model.metadata["config"];
        if (!config.empty()) MutateBytes(config, config.size());
        break;
      }
      default:
        MutateConfig(model.metadata["config"]);
    }
  }
}

json ModelFileMutator::Preset() {
  json preset = {{"name", "p"}, {"nfe", 9}, {"rho", 0.9}, {"noise", {{"window", {1, 5}}}}};
  for (size_t changes = Below(4); changes > 0; --changes) {
    json& target = Below(3) == 0 && preset["noise"].is_object() ? preset["noise"] : preset;
    if (Below(4) == 0) {
      target.erase(One(KnownKeys()));
    } else {
      target[One(KnownKeys())] = Value();
    }
  }
  return preset;
}

// Half of the time one that only some networks have, which are few among hundreds.
std::map<std::string, EditableModel::Tensor>::iterator ModelFileMutator::AnyTensor(
    EditableModel& model) {
  auto item = std::next(model.tensors.begin(), static_cast<int64_t>(Below(model.tensors.size())));
  if (Below(2) == 0) return item;
  std::vector<std::string> rare;
  for (const auto& [name, tensor] : model.tensors) {
    for (const char* part : {"_aux_", "map_noise", "map_label", "map_augment", "out_conv"}) {
      if (absl::StrContains(name, part)) rare.push_back(name);
    }
    if (name == "u") rare.push_back(name);
  }
  return rare.empty() ? item : model.tensors.find(One(rare));
}

// Another model, in a file in order: the header says what the bytes are.
void ModelFileMutator::MutateModel(EditableModel& model) {
  for (size_t changes = 1 + Below(2); changes > 0; --changes) {
    if (model.tensors.empty()) return;
    const auto item = AnyTensor(model);
    EditableModel::Tensor& tensor = item->second;
    switch (Below(5)) {
      case 0:
        tensor.shape.insert(tensor.shape.begin(), 1);
        break;
      case 1:
        std::reverse(tensor.shape.begin(), tensor.shape.end());
        break;
      case 2:
        tensor.shape = {static_cast<int64_t>(Below(100))};
        tensor.bytes.resize(tensor.shape[0] * sizeof(float));
        break;
      case 3: {
        const uint32_t bits = One(
            std::vector<uint32_t>{0x7f800000, 0xff800000, 0x7fc00000, 1, 0x7f7fffff, 0x80000000});
        if (tensor.bytes.size() >= sizeof(bits)) std::memcpy(tensor.bytes.data(), &bits, 4);
        break;
      }
      default: {
        EditableModel::Tensor moved = std::move(tensor);
        model.tensors.erase(item);
        if (Below(2) == 0) model.tensors[Text()] = std::move(moved);
      }
    }
  }
}

void ModelFileMutator::MutateTensors(json& header) {
  for (size_t changes = 1 + Below(3); changes > 0; --changes) {
    const auto item = std::next(header.begin(), static_cast<int64_t>(Below(header.size())));
    json& entry = item.value();
    if (item.key() == "__metadata__" || !entry.is_object() || Below(12) == 0) {
      header[Below(2) == 0 ? item.key() : Text()] = Value();
      if (!header.contains("__metadata__")) header["__metadata__"] = json::object();
      continue;
    }
    switch (Below(7)) {
      case 0:
        entry["dtype"] = Below(3) == 0 ? Value() : json(Text());
        break;
      case 1:
        entry["shape"] = Value();
        break;
      case 2:
        if (entry["shape"].is_array() && !entry["shape"].empty()) {
          entry["shape"][Below(entry["shape"].size())] = Number();
        }
        break;
      case 3:
        if (entry["shape"].is_array()) {
          entry["shape"].insert(entry["shape"].begin(), Below(2) == 0 ? json(1) : Number());
        }
        break;
      case 4:
        entry["data_offsets"] = json::array({Number(), Number()});
        break;
      case 5:
        if (entry["data_offsets"].is_array() && !entry["data_offsets"].empty()) {
          entry["data_offsets"][Below(entry["data_offsets"].size())] = Number();
        }
        break;
      default: {
        json moved = std::move(entry);
        header.erase(item);
        if (Below(2) == 0) header[Text()] = std::move(moved);
      }
    }
  }
}

// A JSON object with the same key twice, which no JSON library writes.
void ModelFileMutator::RepeatKey(const json& header, std::string& text) {
  const auto item = std::next(header.begin(), static_cast<int64_t>(Below(header.size())));
  text.pop_back();
  absl::StrAppend(&text, ",", Dumped(item.key()), ":", Dumped(item.value()), "}");
}

void ModelFileMutator::MutateLength(std::string& file) {
  const uint64_t length =
      One(std::vector<uint64_t>{0, 1, 7, file.size() - 8, file.size(), uint64_t{1} << 24,
                                uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 7});
  file.replace(0, sizeof(length), reinterpret_cast<const char*>(&length), sizeof(length));
}

// Half of the time in the first `head` bytes.
void ModelFileMutator::MutateBytes(std::string& file, size_t head) {
  for (size_t changes = 1 + Below(4); changes > 0 && !file.empty(); --changes) {
    const size_t at = Below(Below(2) == 0 ? file.size() : std::min(head, file.size()));
    switch (Below(6)) {
      case 0:
        file.resize(at);
        break;
      case 1:
        file.erase(at, 1 + Below(16));
        break;
      case 2:
        file.insert(at, file.substr(Below(file.size()), 1 + Below(64)));
        break;
      case 3:
        file[at] = "0123456789-.eE{}[]\",:"[Below(21)];
        break;
      default:
        file[at] = static_cast<char>(file[at] ^ (1 << Below(8)));
    }
  }
}

}  // namespace skipstream
