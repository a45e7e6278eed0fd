// Which blocks a UNet is made of, in which order and under which names. Torch-free.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_TOPOLOGY_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_TOPOLOGY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/nn/resample.h"

namespace skipstream {

struct DhariwalUNetConfig;
struct SongUNetConfig;

// What the blocks of one network have in common; the families differ in it.
struct UNetBlockStyle {
  int emb_channels = 0;
  // The embedding scales the second norm and shifts it; else it is added before the norm.
  bool adaptive_scale = false;
  // A shortcut that changes the resolution only still goes through a 1x1 convolution.
  bool projects_resampled_shortcut = false;
  float skip_scale = 1.0f;  // of a sum of two branches; sqrt(1/2) keeps its variance
  float epsilon = 0.0f;     // of the norms
  std::vector<double> resample_filter;
};

struct UNetBlockSpec {
  std::string name;  // before every parameter's
  int level = 0;     // of its output; 0 the finest
  int in_channels = 0;
  int skip_channels = 0;  // the last of them come from the encoder; 0: none
  int out_channels = 0;
  Resample resample = Resample::kNone;
  int heads = 0;  // of the attention; 0: none
};

// Whether the shortcut of a block goes through a 1x1 convolution.
bool HasProjectedShortcut(const UNetBlockStyle& style, const UNetBlockSpec& spec);

// A convolution makes the first tensor, which is a skip like every block's of the encoder; the last
// norm and convolution make the output.
struct UNetTopology {
  UNetBlockStyle style;
  int resolution = 0;  // of level 0
  std::string in_conv;
  int in_conv_channels = 0;
  std::vector<UNetBlockSpec> encoder;  // from the image to the coarsest level
  std::vector<UNetBlockSpec> decoder;  // and back; takes the skips, the last first
  std::string out_norm;
  std::string out_conv;

  int num_skips() const { return static_cast<int>(encoder.size()) + 1; }
};

UNetTopology TopologyOf(const SongUNetConfig& config);
UNetTopology TopologyOf(const DhariwalUNetConfig& config);

// Unimplemented, saying why, unless blocks are all there is between the first and the last
// convolution, and resolutions change by the filter [1, 1].
absl::Status CheckPlain(const SongUNetConfig& config);
absl::Status CheckPlain(const DhariwalUNetConfig& config);

// "model.<half>.<resolution>x<resolution>_<layer>", half "enc" or "dec".
std::string UNetLayerName(const char* half, int resolution, const std::string& layer);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_TOPOLOGY_H_
