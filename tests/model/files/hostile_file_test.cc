// Property: whatever happens to the bytes of a model file, loading it gives a network that runs or
// an error, and nothing else.
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "model/execution/network.h"
#include "tests/model/files/editable_model.h"

namespace skipstream {
namespace {

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  // One change, half of the time in the first `header` bytes, where a byte means most.
  std::string Mutate(std::string file, size_t header) {
    const size_t at = Below(Below(2) == 0 ? file.size() : header);
    switch (Below(8)) {
      case 0:
        file.resize(at);
        break;
      case 1:
        file.erase(at, 1 + Below(8));
        break;
      case 2:
        file.insert(at, 1 + Below(8), "0{[\"9,:}]\xff"[Below(10)]);
        break;
      case 3:
        file.insert(at, file.substr(Below(file.size()), 1 + Below(64)));
        break;
      case 4:
        file[at] = "0123456789-.eE{}[]\","[Below(20)];
        break;
      default:  // not rare: the one that leaves every length alone
        file[at] = static_cast<char>(file[at] ^ (1 << Below(8)));
        break;
    }
    return file;
  }

  size_t Below(size_t bound) { return random_() % bound; }

 private:
  std::mt19937 random_;
};

class HostileFileTest : public testing::TestWithParam<const char*> {};

TEST_P(HostileFileTest, AnyMutationGivesANetworkThatRunsOrAnError) {
  const EditableModel model = EditableModel::Small(GetParam());
  const std::string whole = model.Serialize();
  const size_t header = 8 + model.Header().dump().size();
  Mutator mutator(20240601);
  int loaded = 0;
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string file = whole;
    for (size_t changes = 1 + mutator.Below(3); changes > 0; --changes) {
      file = mutator.Mutate(file, std::min(header, file.size()));
      if (file.empty()) break;
    }
    const std::string path = WriteTemporaryFile(file);
    ASSERT_NO_THROW({
      const auto network = Network::Load(path);
      if (network.ok()) {
        ++loaded;
        const NetworkInfo& info = (*network)->info();
        const std::vector<float> rho(info.num_skips, 1.0f);
        const at::Tensor x = at::zeros({1, info.channels, info.height, info.width}, at::kFloat);
        EXPECT_EQ((*network)->Denoise(x, {{1.0, 1.0, info.num_classes - 1, rho}}).sizes(),
                  x.sizes());
      } else {
        ++refused;
        EXPECT_FALSE(network.status().message().empty());
      }
    }) << "round "
       << round;
    unlink(path.c_str());
  }
  // Changes to weights and to ignored text go through; most others do not.
  EXPECT_GT(loaded, 10);
  EXPECT_GT(refused, 200);
}

INSTANTIATE_TEST_SUITE_P(Families, HostileFileTest,
                         testing::Values(kDdpmppVpFixture, kNcsnppVeFixture, kAdmEdmFixture));

}  // namespace
}  // namespace skipstream
