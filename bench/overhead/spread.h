// Summarizes repeats of one measurement.
#ifndef SKIPSTREAM_BENCH_OVERHEAD_SPREAD_H_
#define SKIPSTREAM_BENCH_OVERHEAD_SPREAD_H_

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace skipstream::bench {

struct Spread {
  double lowest = 0.0;
  double median = 0.0;
  double highest = 0.0;
};

// Summarizes at least one value.
inline Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2.0;
  return {values.front(), median, values.back()};
}

// Repeat by repeat: a machine that is slow for a while is slow for both.
inline Spread RatioOf(const std::vector<double>& values, const std::vector<double>& yardstick) {
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / yardstick[i]);
  return SpreadOf(std::move(ratios));
}

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_OVERHEAD_SPREAD_H_
