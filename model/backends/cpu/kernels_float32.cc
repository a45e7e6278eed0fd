#include "model/backends/cpu/kernels_impl.h"

namespace skipstream::cpu {

SKIPSTREAM_INSTANTIATE_CPU_KERNELS(float);

void MeasureLines(const LineStatistics& task, int64_t begin, int64_t end) {
  const Floats share = _mm512_set1_ps(1.0f / static_cast<float>(task.width));
  for (int64_t y = begin; y < end; ++y) {
    for (int64_t c = 0; c < task.channels; c += kLanes) {
      const Mask lanes = FirstLanes(task.channels - c);
      const float* x = task.x + y * task.width * task.channels + c;
      // Two sums in turns: each waits for its own last addition only.
      Floats even = _mm512_setzero_ps();
      Floats odd = _mm512_setzero_ps();
      for (int64_t p = 0; p + 1 < task.width; p += 2) {
        even = _mm512_add_ps(even, LoadLanes(x + p * task.channels, lanes));
        odd = _mm512_add_ps(odd, LoadLanes(x + (p + 1) * task.channels, lanes));
      }
      if (task.width % 2 != 0) {
        even = _mm512_add_ps(even, LoadLanes(x + (task.width - 1) * task.channels, lanes));
      }
      const Floats mean = _mm512_mul_ps(_mm512_add_ps(even, odd), share);
      even = odd = _mm512_setzero_ps();
      for (int64_t p = 0; p + 1 < task.width; p += 2) {
        const Floats a = _mm512_sub_ps(LoadLanes(x + p * task.channels, lanes), mean);
        const Floats b = _mm512_sub_ps(LoadLanes(x + (p + 1) * task.channels, lanes), mean);
        even = _mm512_fmadd_ps(a, a, even);
        odd = _mm512_fmadd_ps(b, b, odd);
      }
      if (task.width % 2 != 0) {
        const Floats a =
            _mm512_sub_ps(LoadLanes(x + (task.width - 1) * task.channels, lanes), mean);
        even = _mm512_fmadd_ps(a, a, even);
      }
      _mm512_mask_storeu_ps(task.mean + y * task.channels + c, lanes, mean);
      _mm512_mask_storeu_ps(task.squares + y * task.channels + c, lanes, _mm512_add_ps(even, odd));
    }
  }
}

void SiluInPlace(float* x, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Mask lanes = FirstLanes(n - i);
    _mm512_mask_storeu_ps(x + i, lanes, Silu<true>(LoadLanes(x + i, lanes)));
  }
}

}  // namespace skipstream::cpu
