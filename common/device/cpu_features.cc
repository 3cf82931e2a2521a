#include "common/device/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace tessera {

#if defined(__x86_64__)
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros for a leaf the CPU does not know.
Registers Cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

bool Bit(uint32_t word, int bit) { return (word >> bit & 1u) != 0; }

// XCR0: the register sets the kernel saves at a task switch. Only where OSXSAVE is set.
uint64_t SavedRegisterSets() {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// Tile data is granted on request only, because it makes every thread's saved state 8 KB larger.
// Asked back, because a filter of system calls may answer for the kernel.
bool RequestTileData() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kPermissions = 0x1022;        // ARCH_GET_XCOMP_PERM
  constexpr long kTileData = 18;               // number of the state component
  uint64_t granted = 0;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 &&
         syscall(SYS_arch_prctl, kPermissions, &granted) == 0 && (granted >> kTileData & 1) != 0;
}

}  // namespace

// Bit numbers: Intel SDM volume 2A, CPUID; volume 1, chapter 13.3 for XCR0.
CpuFeatures DetectCpuFeatures() {
  CpuFeatures features;
  const Registers basic = Cpuid(1, 0);
  const Registers extended = Cpuid(7, 0);
  const Registers extended1 = extended.eax >= 1 ? Cpuid(7, 1) : Registers{};
  const bool os_saves = Bit(basic.ecx, 27);
  if (!os_saves) return features;
  const uint64_t saved = SavedRegisterSets();
  constexpr uint64_t kAvxState = 0x6;       // SSE, upper halves of YMM
  constexpr uint64_t kAvx512State = 0xe6;   // and mask registers, upper ZMM halves, ZMM 16-31
  constexpr uint64_t kTileState = 0x60000;  // tile configuration and data
  features.avx2 = (saved & kAvxState) == kAvxState && Bit(basic.ecx, 28) && Bit(basic.ecx, 12) &&
                  Bit(basic.ecx, 29) && Bit(extended.ebx, 5);
  features.avx512 = features.avx2 && (saved & kAvx512State) == kAvx512State &&
                    Bit(extended.ebx, 16) && Bit(extended.ebx, 17) && Bit(extended.ebx, 30) &&
                    Bit(extended.ebx, 31);
  features.avx512_bf16 = features.avx512 && Bit(extended1.eax, 5);
  features.avx512_vnni = features.avx512 && Bit(extended.ecx, 11);
  features.amx = features.avx512_bf16 && features.avx512_vnni && Bit(extended.ecx, 1) &&
                 (saved & kTileState) == kTileState && Bit(extended.edx, 22) &&
                 Bit(extended.edx, 24) && Bit(extended.edx, 25) && RequestTileData();
  return features;
}
#else
CpuFeatures DetectCpuFeatures() { return {}; }
#endif

std::string ToString(const CpuFeatures& features) {
  std::string text;
  for (const auto& [name, present] : {std::pair<absl::string_view, bool>{"avx2", features.avx2},
                                      {"avx512", features.avx512},
                                      {"avx512_bf16", features.avx512_bf16},
                                      {"avx512_vnni", features.avx512_vnni},
                                      {"amx", features.amx}}) {
    if (present) absl::StrAppend(&text, text.empty() ? "" : " ", name);
  }
  return text.empty() ? "none" : text;
}

}  // namespace tessera
