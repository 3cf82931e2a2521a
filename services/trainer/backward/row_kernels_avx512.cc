#include "services/trainer/backward/lanes_avx512.h"
#include "services/trainer/backward/row_kernel_table.h"
#include "services/trainer/backward/row_kernels_by_lanes.h"

namespace tessera::trainer {

const RowKernelTable<float>& RowKernelsAvx512() {
  static constexpr RowKernelTable<float> kTable = TableOf<WideLanes>();
  return kTable;
}

}  // namespace tessera::trainer
