// Computes a UNet with the kernels of model/backends/cpu. The network is the same as SongUNet or
// DhariwalUNet, with everything between two convolutions in one pass over the pixels, and no
// concatenation in memory.
#ifndef SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_UNET_H_
#define SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_UNET_H_

#include <memory>

#include "absl/status/status.h"
#include "model/families/edm_unet/model_file.h"
#include "model/families/edm_unet/unet.h"
#include "model/network_form.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// Unimplemented, saying why, where this CPU or this kind of network has no fused form.
absl::Status CheckFused(const UNetFamilyConfig& config, Precision precision);

// Makes the fused form of a network; requires that CheckFused() is OK. A row's result depends
// neither on its batch nor on the number of threads. It uses as many threads as the calling
// thread's LibTorch setting says.
std::unique_ptr<UNet> MakeFusedUNet(const UNetFamilyConfig& config, int out_channels,
                                    Precision precision, ParameterSource& source);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_CPU_FUSED_UNET_H_
