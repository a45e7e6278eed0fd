#include "client/cli/flags/list_parser.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/output/enum_words.h"

namespace skipstream::cli {
namespace {

constexpr uint64_t kMaxSeeds = 65536;

absl::Status Unreadable(absl::string_view what, absl::string_view valid) {
  return absl::InvalidArgumentError(absl::StrCat("'", what, "' is not ", valid));
}

// Splits at commas and converts every part; parts are trimmed and may not be empty.
template <typename T, typename Convert>
absl::StatusOr<std::vector<T>> ParseList(absl::string_view text, absl::string_view valid,
                                         Convert convert) {
  std::vector<T> values;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    part = absl::StripAsciiWhitespace(part);
    T value;
    if (part.empty() || !convert(part, value)) return Unreadable(part, valid);
    values.push_back(std::move(value));
  }
  return values;
}

bool ToNumber(absl::string_view text, double& value) {
  return absl::SimpleAtod(text, &value) && std::isfinite(value);
}

bool ToSolver(absl::string_view text, v1::Solver& value) {
  const std::optional<v1::Solver> solver = FromWord<v1::Solver>(text);
  if (solver) value = *solver;
  return solver.has_value();
}

std::string ASolver() {
  return absl::StrCat("a solver (", absl::StrJoin(WordsOf<v1::Solver>(), ", "), ")");
}

}  // namespace

absl::StatusOr<std::vector<uint32_t>> ParseSeeds(absl::string_view text) {
  std::vector<uint32_t> seeds;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    part = absl::StripAsciiWhitespace(part);
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(part, absl::MaxSplits('-', 1));
    const bool is_range = part.find('-') != absl::string_view::npos;
    uint32_t first, last;
    if (!absl::SimpleAtoi(ends.first, &first) ||
        !absl::SimpleAtoi(is_range ? ends.second : ends.first, &last) || last < first) {
      return Unreadable(part, "a seed (0 to 4294967295) or a range such as 1-8");
    }
    if (seeds.size() + (last - first) >= kMaxSeeds) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxSeeds, " seeds"));
    }
    for (uint64_t seed = first; seed <= last; ++seed) seeds.push_back(static_cast<uint32_t>(seed));
  }
  return seeds;
}

absl::StatusOr<std::vector<int>> ParseIntegers(absl::string_view text) {
  return ParseList<int>(text, "a whole number", [](absl::string_view part, int& value) {
    return absl::SimpleAtoi(part, &value);
  });
}

absl::StatusOr<std::vector<double>> ParseNumbers(absl::string_view text) {
  return ParseList<double>(text, "a number", ToNumber);
}

absl::StatusOr<std::vector<v1::Solver>> ParseSolvers(absl::string_view text) {
  return ParseList<v1::Solver>(text, ASolver(), ToSolver);
}

absl::StatusOr<std::vector<v1::ClassSelector>> ParseClasses(absl::string_view text) {
  return ParseList<v1::ClassSelector>(
      text, "a class name or index", [](absl::string_view part, v1::ClassSelector& value) {
        int32_t index;
        if (!std::all_of(part.begin(), part.end(), absl::ascii_isdigit)) {
          value.set_name(std::string(part));
        } else if (absl::SimpleAtoi(part, &index)) {
          value.set_index(index);
        } else {
          return false;
        }
        return true;
      });
}

absl::StatusOr<std::vector<RowSpec>> ParseRows(absl::string_view text) {
  const std::string valid =
      absl::StrCat("a row nfe:rho or nfe:rho:solver, such as 9:0.9, with ", ASolver());
  return ParseList<RowSpec>(text, valid, [](absl::string_view part, RowSpec& row) {
    const std::vector<absl::string_view> words = absl::StrSplit(part, ':');
    if (words.size() < 2 || words.size() > 3) return false;
    row.nfe.emplace();
    row.rho.emplace();
    if (!absl::SimpleAtoi(words[0], &*row.nfe)) return false;
    if (!ToNumber(words[1], *row.rho)) return false;
    return words.size() == 2 || ToSolver(words[2], row.solver.emplace());
  });
}

absl::StatusOr<v1::NoiseWindow> ParseWindow(absl::string_view text) {
  constexpr absl::string_view kValid = "a window lo,hi such as 0.5,10 (an end left out is open)";
  const std::vector<absl::string_view> ends = absl::StrSplit(text, ',');
  v1::NoiseWindow window;
  double value;
  if (ends.size() != 2 || (ends[0].empty() && ends[1].empty())) return Unreadable(text, kValid);
  if (!ends[0].empty()) {
    if (!ToNumber(ends[0], value)) return Unreadable(text, kValid);
    window.set_sigma_lo(value);
  }
  if (!ends[1].empty()) {
    if (!ToNumber(ends[1], value)) return Unreadable(text, kValid);
    window.set_sigma_hi(value);
  }
  return window;
}

absl::StatusOr<v1::NoiseKnots> ParseKnots(absl::string_view text) {
  const auto list = ParseList<v1::NoiseKnot>(
      text, "a knot sigma:strength such as 5:0.8", [](absl::string_view part, v1::NoiseKnot& knot) {
        const std::vector<absl::string_view> words = absl::StrSplit(part, ':');
        double sigma, strength;
        if (words.size() != 2 || !ToNumber(words[0], sigma) || !ToNumber(words[1], strength)) {
          return false;
        }
        knot.set_sigma(sigma);
        knot.set_strength(strength);
        return true;
      });
  if (!list.ok()) return list.status();
  v1::NoiseKnots knots;
  for (const v1::NoiseKnot& knot : *list) *knots.add_knots() = knot;
  return knots;
}

}  // namespace skipstream::cli
