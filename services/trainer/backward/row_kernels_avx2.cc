#include "services/trainer/backward/lanes_avx2.h"
#include "services/trainer/backward/row_kernel_table.h"
#include "services/trainer/backward/row_kernels_by_lanes.h"

namespace tessera::trainer {

const RowKernelTable<float>& RowKernelsAvx2() {
  static constexpr RowKernelTable<float> kTable = TableOf<FloatLanes>();
  return kTable;
}

}  // namespace tessera::trainer
