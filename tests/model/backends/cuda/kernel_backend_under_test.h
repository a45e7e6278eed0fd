// The backend whose kernels a program tests: a GPU's, or the same kernels compiled for the CPU.
#ifndef SKIPSTREAM_TESTS_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_UNDER_TEST_H_
#define SKIPSTREAM_TESTS_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_UNDER_TEST_H_

#include <functional>
#include <memory>

#include "model/backends/cuda/kernel_backend.h"

namespace skipstream {

std::unique_ptr<KernelBackend> MakeKernelBackend(Precision precision, bool deterministic);

// Runs `body` once for each order in which blocks and threads may have their turns, where that can
// be chosen.
void InEveryOrder(const std::function<void()>& body);

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_MODEL_BACKENDS_CUDA_KERNEL_BACKEND_UNDER_TEST_H_
