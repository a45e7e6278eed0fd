// A UNet computed by the kernels of model/cpu: the same network as SongUNet or DhariwalUNet, with
// everything between two convolutions in one pass over the pixels, and no concatenation in memory.
#ifndef SKIPSTREAM_MODEL_NETWORK_FUSED_UNET_H_
#define SKIPSTREAM_MODEL_NETWORK_FUSED_UNET_H_

#include <memory>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/network/dhariwal_unet_config.h"
#include "model/network/parameter_source.h"
#include "model/network/song_unet_config.h"
#include "model/network/unet.h"
#include "model/network_form.h"

namespace skipstream {

using UNetFamilyConfig = std::variant<SongUNetConfig, DhariwalUNetConfig>;

// Unimplemented, saying why, where this CPU or this kind of network has no fused form.
absl::Status CheckFused(const UNetFamilyConfig& config, Precision precision);

// A network's value depends on nothing but its row: not on the batch, nor on the number of threads,
// of which it uses as many as the calling thread's LibTorch setting says. Only if CheckFused() is
// OK.
std::unique_ptr<UNet> MakeFusedUNet(const UNetFamilyConfig& config, int out_channels,
                                    Precision precision, ParameterSource& source);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_FUSED_UNET_H_
