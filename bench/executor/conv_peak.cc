#include "bench/executor/conv_peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/conv2d.h"
#include "ATen/ops/ones.h"
#include "base/aligned_buffer.h"
#include "c10/core/InferenceMode.h"
#include "model/backends/cpu/kernels.h"

namespace skipstream::bench {
namespace {

struct Size {
  int64_t batch;
  int64_t across;
  int64_t channels;
  double flops() const {
    return 2.0 * 9 * static_cast<double>(batch * across * across * channels * channels);
  }
};

constexpr Size kSizes[] = {{8, 32, 128}, {8, 16, 256}, {8, 32, 256}};
constexpr int kRounds = 5;

double Seconds(const std::function<void()>& work) {
  double least = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    least = std::min(
        least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

double OfLibTorch(const Size& size, at::ScalarType type) {
  const auto options = at::TensorOptions().dtype(type);
  const auto last = at::MemoryFormat::ChannelsLast;
  const at::Tensor x =
      at::ones({size.batch, size.channels, size.across, size.across}, options).contiguous(last);
  const at::Tensor w = at::ones({size.channels, size.channels, 3, 3}, options).contiguous(last);
  return size.flops() / Seconds([&] { at::conv2d(x, w, {}, 1, 1); });
}

template <typename T>
double OfOurs(const Size& size, int threads) {
  const int64_t line = (size.across + 2) * size.channels;
  const cpu::AlignedBuffer<T> w(cpu::PackedSize<T>(9 * size.channels, size.channels));
  const cpu::AlignedBuffer<float> bias(size.channels);
  const int64_t images = cpu::RoundUp(size.batch, threads);
  const double seconds = Seconds([&] {
    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i) {
      workers.emplace_back([&] {
        const cpu::AlignedBuffer<T> x((size.across + 2) * line);
        cpu::AlignedBuffer<float> out(size.across * size.across * size.channels);
        cpu::Convolution<T> task;
        task.inputs[0] = {x.data(), size.channels, line, 3};
        task.weight = w.data();
        task.bias = bias.data();
        task.height = task.width = size.across;
        task.columns = size.channels;
        task.out = out.data();
        for (int64_t p = 0; p < images / threads; ++p) {
          cpu::Convolve(task, 0, cpu::ConvolutionUnits(task));
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
  });
  return size.flops() * static_cast<double>(images) / static_cast<double>(size.batch) / seconds;
}

}  // namespace

double ConvolutionPeak(Precision precision, int threads) {
  const c10::InferenceMode inference;
  const bool rounds = precision == Precision::kBFloat16;
  const bool has_ours = __builtin_cpu_supports("avx512bw") != 0 &&
                        (!rounds || __builtin_cpu_supports("avx512bf16") != 0);
  at::set_num_threads(threads);
  double peak = 0.0;
  for (const Size& size : kSizes) {
    peak = std::max(peak, OfLibTorch(size, rounds ? at::kBFloat16 : at::kFloat));
    if (has_ours) {
      peak = std::max(peak,
                      rounds ? OfOurs<cpu::BFloat16>(size, threads) : OfOurs<float>(size, threads));
    }
  }
  return peak;
}

}  // namespace skipstream::bench
