// The seam between the executor and a device with its kernels.
#ifndef SKIPSTREAM_MODEL_BACKENDS_BACKEND_H_
#define SKIPSTREAM_MODEL_BACKENDS_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "model/backends/device.h"
#include "model/backends/slot_kernels.h"
#include "model/families/edm_unet/model_file.h"
#include "model/families/edm_unet/unet.h"
#include "model/network_form.h"
#include "model/nn/parameter_source.h"

namespace skipstream {

// Runs the executor's work on one device.
class Backend : public Device, public SlotKernels {
 public:
  // True if Kernels::kReference may be asked for.
  virtual bool has_reference_kernels() const = 0;
  // The precision of networks that have a form in it.
  virtual PrecisionChoice precision() const = 0;

  // Makes the UNet of a model from its parameters (undefined where the source has failed), and says
  // in which form it is. Unimplemented if this backend has no form of it that was asked for. May
  // throw what LibTorch throws. The UNet may refer to the backend.
  virtual absl::StatusOr<std::unique_ptr<UNet>> MakeUNet(const ModelDescription& model,
                                                         ParameterSource& source,
                                                         NetworkForm& form) = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_BACKENDS_BACKEND_H_
