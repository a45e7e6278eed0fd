#include "model/backends/cpu/cpu_features.h"

#ifdef __x86_64__
#include <cpuid.h>

#include <cstdint>
#include <cstring>
#endif

namespace skipstream {

#ifdef __x86_64__
namespace {

struct Registers {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
};

// Zeros where the processor has no such leaf.
Registers CpuId(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

bool Bit(uint32_t value, int bit) { return (value >> bit & 1) != 0; }

// Reads from XCR0 whether the operating system keeps the state of tiles, XTILECFG and XTILEDATA.
bool KeepsTiles() {
  if (!Bit(CpuId(1, 0).ecx, 27)) return false;  // OSXSAVE
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return Bit(low, 17) && Bit(low, 18);
}

}  // namespace

CpuFeatures DetectCpuFeatures() {
  const Registers vendor = CpuId(0, 0);
  char name[12];
  std::memcpy(name, &vendor.ebx, 4);
  std::memcpy(name + 4, &vendor.edx, 4);
  std::memcpy(name + 8, &vendor.ecx, 4);
  const uint32_t version = CpuId(1, 0).eax;
  const int family = static_cast<int>(version >> 8 & 0xf);
  const int extended = static_cast<int>(version >> 20 & 0xff);
  const uint32_t extensions = CpuId(7, 0).edx;
  return {.is_amd = std::memcmp(name, "AuthenticAMD", sizeof(name)) == 0,
          .family = family == 0xf ? family + extended : family,
          .avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"),
          .avx512_bf16 = __builtin_cpu_supports("avx512bf16") != 0,
          .amx_bf16 = Bit(extensions, 22) && Bit(extensions, 24) && KeepsTiles()};
}
#else
CpuFeatures DetectCpuFeatures() { return {}; }
#endif

PrecisionChoice FasterPrecision(const CpuFeatures& cpu) {
  if (!cpu.avx512 || !cpu.avx512_bf16) {
    return {Precision::kFloat32, "this CPU has no AVX512_BF16"};
  }
  if (cpu.amx_bf16) return {Precision::kBFloat16, "this CPU has AMX"};
  if (cpu.is_amd && (cpu.family == 0x19 || cpu.family == 0x1a)) {
    return {Precision::kBFloat16, "this CPU is an AMD Zen 4 or 5 with AVX512_BF16"};
  }
  return {Precision::kFloat32, "this CPU has AVX512_BF16 without AMX, which is no faster"};
}

}  // namespace skipstream
