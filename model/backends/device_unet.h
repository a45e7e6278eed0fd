// A UNet on a device: LibTorch's convolutions and products, and between them the fused operations
// of its UNetKernels. The same network as SongUNet or DhariwalUNet, with no concatenation in
// memory.
#ifndef SKIPSTREAM_MODEL_BACKENDS_DEVICE_UNET_H_
#define SKIPSTREAM_MODEL_BACKENDS_DEVICE_UNET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "model/backends/device.h"
#include "model/backends/unet_kernels.h"
#include "model/families/edm_unet/dhariwal_unet_config.h"
#include "model/families/edm_unet/model_file.h"
#include "model/families/edm_unet/song_unet_config.h"
#include "model/families/edm_unet/unet.h"
#include "model/families/edm_unet/unet_parameters.h"
#include "model/families/edm_unet/unet_topology.h"
#include "model/network_form.h"
#include "model/nn/layers.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// Implements UNet. In bfloat16, weights and all features between the first convolution's output and
// the last norm's input are rounded. So are the results of convolutions and products before
// anything is added to them. Sums inside them, norms, the noise embedding and the first and last
// convolution are float32.
class DeviceUNet final : public UNet {
 public:
  // Takes the parameters in their stored form; MoveToDevice() comes before Forward(). Only for
  // networks that CheckPlain() (model/families/edm_unet/unet_topology.h) accepts.
  DeviceUNet(const SongUNetConfig& config, int out_channels, Precision precision,
             ParameterSource& source, const Device& device, UNetKernels& kernels);
  DeviceUNet(const DhariwalUNetConfig& config, int out_channels, Precision precision,
             ParameterSource& source, const Device& device, UNetKernels& kernels);

  void MoveToDevice() override;

  // Computes UNet::Forward() with every tensor on the device.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels,
                     const at::Tensor& rho) const override;

 private:
  struct Block {
    UNetBlockSpec spec;
    NormParameters norm0;
    LayerParameters conv0;        // the bias apart: it is added with something else
    int64_t first_condition = 0;  // index in a row of Conditions()
    NormParameters norm1;
    at::Tensor conv1_weight;
    at::Tensor shortcut;       // [in, out] for the decoder's features; undefined: the identity
    at::Tensor skip_shortcut;  // [skip, out]
    at::Tensor out_bias;       // sum of the biases of conv1 and the shortcut
    NormParameters norm2;
    at::Tensor qkv_weight;  // [3 C, C], grouped by part
    at::Tensor qkv_bias;
    at::Tensor proj_weight;  // [C, C]
    at::Tensor proj_bias;
  };

  DeviceUNet(UNetTopology topology, int image_channels, int label_dim, Precision precision,
             const Device& device, UNetKernels& kernels);
  void TakeEverything(ParameterSource& source, const EmbeddingParameters& embedding,
                      int out_channels);
  void AddBlock(ParameterSource& source, const UNetBlockSpec& spec);
  // Visits every tensor that lives on the device.
  void ForEachTensor(absl::FunctionRef<void(at::Tensor&)> visit);

  // Returns the outputs of all affine layers, [B, conditions_], float32.
  at::Tensor Conditions(const at::Tensor& c_noise, const at::Tensor& labels) const;
  DeviceFeature ComputeBlock(const Block& block, const DeviceFeature& x, const DeviceFeature* skip,
                             const at::Tensor& rho, const at::Tensor& conditions) const;
  DeviceFeature Attend(const Block& block, const DeviceFeature& x) const;
  NormTask TaskOf(const NormParameters& norm, const DeviceFeature& x) const;

  const UNetTopology topology_;
  const int image_channels_;
  const int label_dim_;
  const at::ScalarType type_;  // of features
  const at::Device device_;
  UNetKernels& kernels_;

  bool label_first_ = false;  // the class joins the noise embedding; else the layers' output
  NoiseEmbedding map_noise_;
  at::Tensor frequencies_;
  at::Tensor label_weight_;  // undefined: no classes
  at::Tensor label_bias_;    // may be undefined
  at::Tensor layer0_weight_, layer0_bias_;
  at::Tensor layer1_weight_, layer1_bias_;
  std::vector<at::Tensor> affine_weights_, affine_biases_;  // joined by MoveToDevice()
  at::Tensor affine_weight_, affine_bias_;
  int64_t conditions_ = 0;  // outputs of all affine layers

  LayerParameters in_conv_;
  std::vector<Block> blocks_;
  NormParameters out_norm_;
  LayerParameters out_conv_;
};

// Makes the DeviceUNet of a model. Unimplemented, saying why, for a network without this form.
absl::StatusOr<std::unique_ptr<UNet>> MakeDeviceUNet(const ModelDescription& model,
                                                     Precision precision, ParameterSource& source,
                                                     const Device& device, UNetKernels& kernels);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_DEVICE_UNET_H_
