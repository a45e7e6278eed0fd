#include "bench/executor/worker.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>

#include "ATen/ops/empty.h"

namespace skipstream::bench {

Evaluation::Evaluation(const Network& network, int rows)
    : network_(network),
      x_(at::empty({rows, network.info().channels, network.info().height, network.info().width},
                   at::kFloat)),
      rho_(network.info().num_skips, 0.95f) {
  for (int64_t i = 0; i < x_.numel(); ++i) {
    x_.mutable_data_ptr<float>()[i] = std::sin(0.37f * static_cast<float>(i % 10007));
  }
  const int classes = network.info().num_classes;
  for (int b = 0; b < rows; ++b) {
    const double sigma = 0.1 * (b + 1);
    rows_.push_back({sigma, sigma, classes > 0 ? b % classes : -1, rho_});
  }
}

double Evaluation::Run() const {
  const auto start = std::chrono::steady_clock::now();
  network_.Denoise(x_, rows_);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void AnswerWithTimes(const Network& network) {
  std::map<int, Evaluation> evaluations;
  int rows = 0;
  while (std::cin >> rows && rows > 0) {
    const auto it = evaluations.try_emplace(rows, network, rows).first;
    std::printf("%.9f\n", it->second.Run());
    std::fflush(stdout);
  }
}

}  // namespace skipstream::bench
