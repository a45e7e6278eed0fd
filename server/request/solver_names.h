// Solvers as the API names them.
#ifndef SKIPSTREAM_SERVER_REQUEST_SOLVER_NAMES_H_
#define SKIPSTREAM_SERVER_REQUEST_SOLVER_NAMES_H_

#include <optional>
#include <string>

#include "model/diffusion/solver.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

v1::Solver ToProto(Solver solver);
// Unspecified is the default, heun. Nothing for a value this build does not know.
std::optional<Solver> FromProto(v1::Solver solver);

// "SOLVER_HEUN".
const std::string& ApiName(Solver solver);
// All of them, for messages: "SOLVER_EULER, SOLVER_HEUN, ... or SOLVER_CONSISTENCY".
std::string SolverChoices();

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_REQUEST_SOLVER_NAMES_H_
