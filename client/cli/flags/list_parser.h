// Parses the small languages of the flags: lists, ranges, pairs. Every error quotes the text and
// says what would be valid.
#ifndef SKIPSTREAM_CLIENT_CLI_FLAGS_LIST_PARSER_H_
#define SKIPSTREAM_CLIENT_CLI_FLAGS_LIST_PARSER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::cli {

// Holds one row of a sweep: the settings that all its images share. An empty member leaves the
// request's own value.
struct RowSpec {
  std::optional<int> nfe;
  std::optional<double> rho;
  std::optional<double> guidance;
  std::optional<v1::Solver> solver;
};

// Parses "1,5-8": single seeds and inclusive ranges, 0 to 4294967295; at most 65536 seeds.
absl::StatusOr<std::vector<uint32_t>> ParseSeeds(absl::string_view text);
// Parses "9,19".
absl::StatusOr<std::vector<int>> ParseIntegers(absl::string_view text);
// Parses "0.9,1.0,1.05"; the numbers are finite.
absl::StatusOr<std::vector<double>> ParseNumbers(absl::string_view text);
// Parses "heun,dpmpp_2m": the words of v1::Solver.
absl::StatusOr<std::vector<v1::Solver>> ParseSolvers(absl::string_view text);
// Parses "cat,dog,3": names or indexes; only all-digit words are indexes.
absl::StatusOr<std::vector<v1::ClassSelector>> ParseClasses(absl::string_view text);
// Parses "9:0.9,35:1.0" or "9:0.9:euler": rows of nfe:rho or nfe:rho:solver.
absl::StatusOr<std::vector<RowSpec>> ParseRows(absl::string_view text);
// Parses "0.5,10", "0.5," or ",10": noise levels; an end left out is open.
absl::StatusOr<v1::NoiseWindow> ParseWindow(absl::string_view text);
// Parses "0.1:0,5:1": sigma:strength.
absl::StatusOr<v1::NoiseKnots> ParseKnots(absl::string_view text);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_FLAGS_LIST_PARSER_H_
