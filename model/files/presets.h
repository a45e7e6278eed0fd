// Reads recommended settings of skip-tuning. They are in the metadata key `skip_tuning` of a model
// file, where they travel with the weights, and in a file beside it, NAME.presets.json for
// NAME.safetensors. The file's entries replace those of the same name, nfe and solver.
//
//   {"presets": [{"name": "default", "nfe": 9, "solver": "heun", "rho": 1.05,
//                 "noise": {"window": [5, 80]}}, ...]}
//
// name    1 to 64 characters; one entry per (name, nfe, solver)
// nfe     1 to 100000: what the setting was found for
// solver  a solver's name; absent: any
// depth   exactly one of   "rho": r
//                          "rho_bottom": r, "rho_top": r     deepest and shallowest skip
//                          "rho_list": [r, ...]              K values, deepest first
// noise   absent: the same at every level; or an object with exactly one of
//                          "window": [sigma_lo, sigma_hi]
//                          "ramp": "strongest_at_high_sigma" or "strongest_at_low_sigma"
//                          "knots": [[sigma, strength], ...] sigma increasing, strength -1 to 1
#ifndef SKIPSTREAM_MODEL_FILES_PRESETS_H_
#define SKIPSTREAM_MODEL_FILES_PRESETS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/diffusion/skip_tuning.h"

namespace skipstream {

// Parses presets. InvalidArgument, naming the entry and field, for anything that is not of the form
// above. `where`, the source of the text, begins every message.
absl::StatusOr<std::vector<SkipTuningPreset>> ParsePresets(const std::string& json, int num_skips,
                                                           const std::string& where);

// Adds the presets of the file beside a model file to `presets`, if there is one. InvalidArgument
// as above, or if it cannot be read. Beside a model given as a descriptor, /proc/self/fd/N, means
// beside the file that it leads to. The file of presets may then be no symbolic link: the caller
// confines the files that are read.
absl::Status AddPresetsBeside(const std::string& model_path, int num_skips,
                              std::vector<SkipTuningPreset>& presets);

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_FILES_PRESETS_H_
