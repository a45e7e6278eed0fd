// The published configurations at their full size.
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "gtest/gtest.h"
#include "model/execution/network.h"
#include "model/families/edm_unet/model_file.h"
#include "tests/model/families/edm_unet/shape_recorder.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

constexpr char kCifar10Ddpmpp[] = R"({
    "model_type": "SongUNet", "img_resolution": 32, "img_channels": 3, "label_dim": 0,
    "augment_dim": 9, "model_channels": 128, "channel_mult": [2, 2, 2], "num_blocks": 4,
    "attn_resolutions": [16], "dropout": 0.13})";
constexpr char kFfhq64Ddpmpp[] = R"({
    "model_type": "SongUNet", "img_resolution": 64, "img_channels": 3, "label_dim": 0,
    "augment_dim": 9, "model_channels": 128, "channel_mult": [1, 2, 2, 2], "num_blocks": 4,
    "attn_resolutions": [16], "dropout": 0.05})";
constexpr char kImageNet64Adm[] = R"({
    "model_type": "DhariwalUNet", "img_resolution": 64, "img_channels": 3, "label_dim": 1000,
    "augment_dim": 0, "model_channels": 192, "channel_mult": [1, 2, 3, 4], "num_blocks": 3,
    "attn_resolutions": [32, 16, 8], "dropout": 0.1, "use_fp16": true})";

ModelDescription Describe(const std::string& config) {
  const auto model = ParseModelMetadata({{"preconditioning", "EDMPrecond"}, {"config", config}});
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

ShapeRecorder Record(const ModelDescription& model) {
  ShapeRecorder recorder = ShapeRecorder::Of(model);
  EXPECT_TRUE(recorder.status().ok()) << recorder.status();
  return recorder;
}

TEST(PublishedNetworksTest, HaveThePublishedNumbersOfParametersAndSkips) {
  const struct {
    const char* config;
    int64_t parameters;  // published as 55.7, 61.8 and 295.9 million
    int num_skips;
  } cases[] = {{kCifar10Ddpmpp, 55733891, 15},
               {kFfhq64Ddpmpp, 61805571, 20},
               {kImageNet64Adm, 295899267, 16}};
  for (const auto& [config, parameters, num_skips] : cases) {
    const ModelDescription model = Describe(config);
    EXPECT_EQ(Record(model).parameter_count(), parameters) << config;
    EXPECT_EQ(model.info.num_skips, num_skips) << config;
  }
}

TEST(PublishedNetworksTest, TheRecorderSeesWhatAFileHolds) {
  const EditableModel file = EditableModel::Whole(kAdmEdmFixture);
  const ModelDescription model = Describe(file.metadata.at("config"));
  std::map<std::string, std::vector<int64_t>> stored;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.find("resample_filter") == std::string::npos) stored[name] = tensor.shape;
  }
  EXPECT_EQ(Record(model).shapes(), stored);
}

int64_t PeakResidentBytes() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} << 10;
}

int64_t ResidentBytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// A model file of zeros, sparse: it takes no room on the disk.
std::string WriteZeros(const std::string& config, const ShapeRecorder& recorder) {
  const std::string start = EditableModel::Assemble(recorder.Header(config).dump(), "");
  const std::string path = WriteTemporaryFile(start);
  EXPECT_EQ(
      truncate(path.c_str(), static_cast<int64_t>(start.size()) + 4 * recorder.parameter_count()),
      0);
  return path;
}

TEST(PublishedNetworksTest, ImageNet64LoadsWithoutASecondCopyOfItsWeights) {
  const ShapeRecorder recorder = Record(Describe(kImageNet64Adm));
  const std::string path = WriteZeros(kImageNet64Adm, recorder);
  const int64_t before = ResidentBytes();
  const auto network = Network::Load(path);
  const int64_t peak = PeakResidentBytes();
  unlink(path.c_str());
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ((*network)->info().parameter_count, recorder.parameter_count());
  EXPECT_EQ((*network)->info().num_classes, 1000);
  EXPECT_LT(peak - before, 4 * recorder.parameter_count() + (64 << 20));
}

}  // namespace
}  // namespace skipstream
