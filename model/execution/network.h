// Combines a network from a model file with its preconditioning into a denoiser; every input is per
// row.
#ifndef SKIPSTREAM_MODEL_EXECUTION_NETWORK_H_
#define SKIPSTREAM_MODEL_EXECUTION_NETWORK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/network_form.h"
#include "model/network_info.h"

namespace at {
class Tensor;
}

namespace skipstream {

struct ModelDescription;
class ParameterSource;
class UNet;

// Holds the conditions of one row of a batch.
struct DenoiserRow {
  double sigma = 0.0;               // noise level of the image
  double conditioning_sigma = 0.0;  // noise level the network is given
  int class_index = -1;             // -1: none
  absl::Span<const float> rho;      // [K], index 0 the deepest skip
};

// Denoises batches. Immutable once loaded; usable from several threads. Uses the calling thread's
// LibTorch settings.
class Network {
 public:
  // Makes the UNet of a model from its parameters (null where the source has failed) and sets
  // `form` to its form.
  using Builder = std::function<absl::StatusOr<std::unique_ptr<UNet>>(
      const ModelDescription& model, ParameterSource& source, NetworkForm& form)>;

  // Loads a model file, and the presets beside it. `prefix` stands before every parameter name of
  // the file ("" in model files); tensors without it are ignored. InvalidArgument names the file
  // and what is wrong with it; Unimplemented for a family of networks or a form that is not built.
  // Takes the memory of the parameters once (half of it for bfloat16) and that of the largest
  // layer. May throw what LibTorch throws when memory runs out, and std::system_error when a thread
  // cannot be started.
  static absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path,
                                                       const std::string& prefix = "",
                                                       NetworkForm form = {});
  // Does the same with a UNet that the caller makes.
  static absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& path,
                                                       const std::string& prefix,
                                                       const Builder& build);
  ~Network();

  const NetworkInfo& info() const { return info_; }
  UNet& unet() { return *unet_; }

  // Returns D(x) for x [B, C, H, W], contiguous float32, with the shape of x. rows.size() is B and
  // every row is in range. Throws c10::Error.
  at::Tensor Denoise(const at::Tensor& x, absl::Span<const DenoiserRow> rows) const;

 private:
  Network(NetworkInfo info, std::unique_ptr<UNet> unet);

  NetworkInfo info_;
  std::unique_ptr<UNet> unet_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_EXECUTION_NETWORK_H_
