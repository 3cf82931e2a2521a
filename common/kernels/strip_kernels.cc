#include "common/kernels/strip_kernels.h"

#include "common/base/check.h"

namespace tessera::kernels {

const StripKernels& StripKernelsOf(Isa isa) {
  TESSERA_CHECK(isa != Isa::kReference);
  return Avx2StripKernels();
}

}  // namespace tessera::kernels
