#include "common/kernels/strip_kernels.h"

#include "common/base/check.h"

namespace tessera::kernels {

const StripKernels& StripKernelsOf(Isa isa, const CpuFeatures& features) {
  TESSERA_CHECK(isa != Isa::kReference);
  if (isa == Isa::kAmx) return AmxStripKernels();
  if (isa == Isa::kAvx512) return Avx512StripKernels(features.avx512_bf16, features.avx512_vnni);
  return Avx2StripKernels();
}

}  // namespace tessera::kernels
