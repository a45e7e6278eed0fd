// Converts solvers from and to the API's names.
#ifndef SKIPSTREAM_SERVER_REQUEST_SOLVER_NAMES_H_
#define SKIPSTREAM_SERVER_REQUEST_SOLVER_NAMES_H_

#include <optional>
#include <string>

#include "model/diffusion/solver.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

v1::Solver ToProto(Solver solver);
// Returns heun, the default, for the unspecified value. Returns nothing for a value this build does
// not know.
std::optional<Solver> FromProto(v1::Solver solver);

// Returns the name in the API, e.g. "SOLVER_HEUN".
const std::string& ApiName(Solver solver);
// Returns all names, for messages: "SOLVER_EULER, SOLVER_HEUN, ... or SOLVER_CONSISTENCY".
std::string SolverChoices();

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_SOLVER_NAMES_H_
