#pragma once

// What this CPU can do, asked once of cpuid and of the kernel (AMX needs its permission).

#include <string>

namespace tessera {

// Each also says that the kernel saves the registers it needs.
struct CpuFeatures {
  bool avx2 = false;         // AVX2, FMA and F16C together
  bool avx512 = false;       // F, BW, VL, DQ together, and avx2
  bool avx512_bf16 = false;  // vdpbf16ps, and avx512
  bool avx512_vnni = false;  // vpdpbusd on 512 bits, and avx512
  // Tile, int8 and bf16, and the kernel granted the tile registers; and the three above, and VBMI.
  bool amx = false;
};

// Asks cpuid and, for AMX, arch_prctl(ARCH_REQ_XCOMP_PERM) for the whole process: call before
// threads start.
CpuFeatures DetectCpuFeatures();

std::string ToString(const CpuFeatures& features);  // "avx2 avx512 avx512_bf16"; "none"

}  // namespace tessera
