#include "services/trainer/backward/row_kernel_table.h"
#include "services/trainer/backward/row_kernels_by_lanes.h"

namespace tessera::trainer {

const RowKernelTable<double>& RowKernelsPlain() {
  static constexpr RowKernelTable<double> kTable = TableOf<PlainLane<double>>();
  return kTable;
}

}  // namespace tessera::trainer
