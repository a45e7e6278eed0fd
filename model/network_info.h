// Describes a loaded network without its weights. Torch-free.
#ifndef SKIPSTREAM_MODEL_NETWORK_INFO_H_
#define SKIPSTREAM_MODEL_NETWORK_INFO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "model/diffusion/preconditioning.h"
#include "model/diffusion/skip_tuning.h"
#include "model/network_form.h"

namespace skipstream {

struct NetworkInfo {
  std::string preconditioning;  // EDMPrecond, VPPrecond, VEPrecond, iDDPMPrecond or CMPrecond
  std::string architecture;     // SongUNet or DhariwalUNet
  int channels = 0;
  int height = 0;
  int width = 0;
  int num_classes = 0;                   // 0: unconditional
  std::vector<std::string> class_names;  // empty, or num_classes names
  // Share of training steps in which the network did not get the class; above 0 it can denoise
  // without one, and classifier-free guidance makes sense.
  double label_dropout = 0.0;
  int num_skips = 0;                // K
  Preconditioning parametrization;  // of D by the raw network
  // The preconditioner's own limits; 0 and infinity for EDM.
  double sigma_min = 0.0;
  double sigma_max = 0.0;
  // The only levels the preconditioner knows, descending, from sigma_max to sigma_min; the network
  // is given the nearest one. Empty: any level between the limits.
  std::vector<double> sigma_levels;
  int64_t parameter_count = 0;
  std::string sha256;   // of the whole file, lower-case hex
  NetworkForm form;     // never Kernels::kAuto
  std::string license;  // as the file states it; empty if it does not
  std::vector<SkipTuningPreset> presets;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NETWORK_INFO_H_
