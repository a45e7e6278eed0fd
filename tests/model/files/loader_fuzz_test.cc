// Property: whatever a model file says, loading it gives a network that runs or an error with words
// in it, in bounded memory and time. Structured mutations of every family's file, for
// SKIPSTREAM_FUZZ_SECONDS (default 10) from SKIPSTREAM_FUZZ_SEED; the file of a failure is kept.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <variant>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/zeros.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "model/execution/network.h"
#include "model/families/edm_unet/dhariwal_unet.h"
#include "model/families/edm_unet/model_file.h"
#include "model/families/edm_unet/song_unet.h"
#include "model/files/safetensors.h"
#include "nlohmann/json.hpp"
#include "tests/model/families/edm_unet/shape_recorder.h"
#include "tests/model/files/editable_model.h"
#include "tests/model/files/model_file_mutator.h"

namespace skipstream {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

// The files have at most about a megabyte: what they may make the process grow by, in all, and what
// address space a single one may ask for on top.
constexpr int64_t kMaxGrowthKilobytes = 64 << 10;
constexpr int64_t kMaxAddressSpaceGrowth = int64_t{1} << 30;
constexpr auto kMaxTimePerFile = std::chrono::seconds(10);

double EnvironmentNumber(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  double value = 0.0;
  EXPECT_TRUE(absl::SimpleAtod(text, &value)) << name << " is no number: " << text;
  return value;
}

constexpr char kConfigs[] = "tests/tools/convert/configs.json";

// Every family, encoder and preconditioning; adm-iddpm has the table of levels and doubled outputs.
constexpr const char* kFixtures[] = {kDdpmppEdmFixture, kDdpmppVpFixture,   kNcsnppVeFixture,
                                     kAdmEdmFixture,    kSongVeSkipFixture, kSongEdmResidualFixture,
                                     kAdmIddpmFixture,  kAdmCmFixture};

// A file of tens of kilobytes where the network can be that narrow, about a megabyte else.
EditableModel Smallest(const std::string& fixture) {
  EditableModel whole = EditableModel::Whole(fixture);
  const json config = json::parse(whole.metadata["config"]);
  return config["model_channels"] >= 32 ? EditableModel::Small(fixture) : whole;
}

EditableModel WithAllMetadata(EditableModel model) {
  const json config = json::parse(model.metadata["config"]);
  json classes = json::array();
  for (int i = 0; i < config.value("label_dim", 0); ++i) classes.push_back(std::to_string(i));
  model.metadata["classes"] = classes.dump();
  model.metadata["skip_tuning"] = R"({"presets": [{"name": "default", "nfe": 9, "rho": 1.05}]})";
  model.metadata["license"] = "none";
  return model;
}

int64_t PeakKilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void LimitAddressSpace(int64_t growth) {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t limit = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + growth);
  const rlimit limits{limit, limit};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limits), 0);
}

// Runs the network once; its values do not matter, its parameters may be anything.
void Run(const Network& network) {
  const NetworkInfo& info = network.info();
  const std::vector<float> rho(info.num_skips, 1.0f);
  const at::Tensor x = at::zeros({1, info.channels, info.height, info.width}, at::kFloat);
  EXPECT_EQ(network.Denoise(x, {{1.0, 1.0, info.num_classes - 1, rho}}).sizes(), x.sizes());
}

struct Counts {
  int loaded = 0;
  int refused_header = 0;
  int refused_metadata = 0;
  int refused_network = 0;
};

void ExpectWords(const absl::Status& status) {
  EXPECT_FALSE(status.message().empty());
  EXPECT_LT(status.message().size(), 2000u);
}

void Load(const std::string& path, Counts& counts) {
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) {
    ++counts.refused_header;
    ExpectWords(file.status());
    // Loads the same file through the executor.
    EXPECT_EQ(Network::Load(path).status(), file.status());
    return;
  }
  const auto description = ParseModelMetadata(file->metadata());
  const auto network = Network::Load(path);
  if (!description.ok()) {
    ++counts.refused_metadata;
    ExpectWords(description.status());
    EXPECT_FALSE(network.ok());
  } else if (!network.ok()) {
    ++counts.refused_network;
    ExpectWords(network.status());
  } else {
    ++counts.loaded;
    Run(**network);
  }
}

TEST(LoaderFuzzTest, AnyModelFileGivesANetworkThatRunsOrAnError) {
  // Threads would spend the time waiting for each other: the networks are tiny.
  at::set_num_threads(1);
  std::vector<EditableModel> models;
  for (const char* fixture : kFixtures) {
    models.push_back(WithAllMetadata(Smallest(fixture)));
  }
  Counts good;
  for (const EditableModel& model : models) {
    const std::string path = WriteTemporaryFile(model.Serialize());
    Load(path, good);
    unlink(path.c_str());
  }
  ASSERT_EQ(good.loaded, static_cast<int>(models.size()));

  const int64_t before = PeakKilobytes();
  LimitAddressSpace(kMaxAddressSpaceGrowth);
  const auto seed = static_cast<uint32_t>(EnvironmentNumber("SKIPSTREAM_FUZZ_SEED", 20240601));
  const auto end = Clock::now() +
                   std::chrono::duration<double>(EnvironmentNumber("SKIPSTREAM_FUZZ_SECONDS", 10));
  ModelFileMutator mutator(seed);
  Counts counts;
  for (int round = 0; Clock::now() < end; ++round) {
    const std::string path = WriteTemporaryFile(mutator.Mutate(models[round % models.size()]));
    const auto start = Clock::now();
    try {
      Load(path, counts);
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    EXPECT_LT(Clock::now() - start, kMaxTimePerFile);
    EXPECT_LT(PeakKilobytes() - before, kMaxGrowthKilobytes);
    ASSERT_FALSE(HasFailure()) << "seed " << seed << ", round " << round << ": the file is "
                               << path;
    unlink(path.c_str());
  }
  RecordProperty("loaded", counts.loaded);
  RecordProperty("refused_header", counts.refused_header);
  RecordProperty("refused_metadata", counts.refused_metadata);
  RecordProperty("refused_network", counts.refused_network);
  // The mutations reach every layer, and the harmless ones go through.
  EXPECT_GT(counts.loaded, 0);
  EXPECT_GT(counts.refused_header, 0);
  EXPECT_GT(counts.refused_metadata, 0);
  EXPECT_GT(counts.refused_network, 0);
}

// Checks the metadata and the network they describe, without its parameters.
absl::Status CheckConfig(const std::string& preconditioning, const json& config) {
  const auto model =
      ParseModelMetadata({{"preconditioning", preconditioning}, {"config", config.dump()}});
  if (!model.ok()) return model.status();
  ShapeRecorder recorder;
  const int outputs = model->info.channels * model->info.parametrization.outputs_per_channel();
  if (const auto* song = std::get_if<SongUNetConfig>(&model->config)) {
    const SongUNet network(*song, outputs, recorder);
  } else {
    const DhariwalUNet network(std::get<DhariwalUNetConfig>(model->config), outputs, recorder);
  }
  return recorder.status();
}

// The same list is the converter's test: what it writes is what loads.
TEST(LoaderConfigTest, TakesAndRefusesTheConfigurationsThatTheConverterDoes) {
  const json list = json::parse(ReadFile(kConfigs));
  int taken = 0;
  int refused = 0;
  for (const json& item : list["configs"]) {
    SCOPED_TRACE(item.dump());
    json config = list["base"];
    config.update(item[1]);
    const absl::Status status = CheckConfig(item[0], config);
    if (item[2].is_null()) {
      ++taken;
      EXPECT_TRUE(status.ok()) << status;
    } else {
      ++refused;
      EXPECT_FALSE(status.ok());
      EXPECT_TRUE(absl::StrContains(status.message(), item[2].get<std::string>())) << status;
    }
  }
  EXPECT_GT(taken, 50);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace skipstream
