// Lists the blocks of a UNet in their order and with their names. Torch-free.
#ifndef SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_TOPOLOGY_H_
#define SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_TOPOLOGY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/nn/resample.h"

namespace skipstream {

struct DhariwalUNetConfig;
struct SongUNetConfig;

// Holds the properties that the blocks of one network have in common; the families differ in them.
struct UNetBlockStyle {
  int emb_channels = 0;
  // The embedding scales and shifts the second norm; else it is added before the norm.
  bool adaptive_scale = false;
  // A shortcut that changes only the resolution goes through a 1x1 convolution too.
  bool projects_resampled_shortcut = false;
  float skip_scale = 1.0f;  // factor of a sum of two branches; sqrt(1/2) keeps its variance
  float epsilon = 0.0f;     // of the norms
  std::vector<double> resample_filter;
};

struct UNetBlockSpec {
  std::string name;  // prefix of every parameter name
  int level = 0;     // level of the output; 0 the finest
  int in_channels = 0;
  int skip_channels = 0;  // last of in_channels, from the encoder; 0: none
  int out_channels = 0;
  Resample resample = Resample::kNone;
  int heads = 0;  // attention heads; 0: no attention
};

// Returns true if the shortcut of a block goes through a 1x1 convolution.
bool HasProjectedShortcut(const UNetBlockStyle& style, const UNetBlockSpec& spec);

// Describes a whole UNet. A convolution makes the first tensor, which is a skip like the output of
// every encoder block; the last norm and convolution make the output.
struct UNetTopology {
  UNetBlockStyle style;
  int resolution = 0;  // pixels along an edge at level 0
  std::string in_conv;
  int in_conv_channels = 0;
  std::vector<UNetBlockSpec> encoder;  // from the image to the coarsest level
  std::vector<UNetBlockSpec> decoder;  // and back; takes the skips in reverse order
  std::string out_norm;
  std::string out_conv;

  int num_skips() const { return static_cast<int>(encoder.size()) + 1; }
};

UNetTopology TopologyOf(const SongUNetConfig& config);
UNetTopology TopologyOf(const DhariwalUNetConfig& config);

// Returns Unimplemented, saying why, if there are layers other than blocks between the first and
// the last convolution, or resolutions change by a filter other than [1, 1].
absl::Status CheckPlain(const SongUNetConfig& config);
absl::Status CheckPlain(const DhariwalUNetConfig& config);

// Returns "model.<half>.<resolution>x<resolution>_<layer>", half "enc" or "dec".
std::string UNetLayerName(const char* half, int resolution, const std::string& layer);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FAMILIES_EDM_UNET_UNET_TOPOLOGY_H_
