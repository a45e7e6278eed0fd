#ifndef SKIPSTREAM_BENCH_EXECUTOR_WORKER_H_
#define SKIPSTREAM_BENCH_EXECUTOR_WORKER_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "model/execution/network.h"

namespace skipstream::bench {

// Evaluates one network on rows that differ in noise level, class and rho.
class Evaluation {
 public:
  Evaluation(const Network& network, int rows);

  // Computes it once; returns the seconds that took.
  double Run() const;

 private:
  const Network& network_;
  at::Tensor x_;
  std::vector<float> rho_;
  std::vector<DenoiserRow> rows_;
};

// Serves another program that measures in turns with this one: reads numbers of rows from standard
// input, one a line, and answers each with the seconds of one evaluation.
void AnswerWithTimes(const Network& network);

}  // namespace skipstream::bench

#endif  // SKIPSTREAM_BENCH_EXECUTOR_WORKER_H_
