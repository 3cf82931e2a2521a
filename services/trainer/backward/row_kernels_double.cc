#include "services/trainer/backward/row_kernels_by_lanes.h"

namespace tessera::trainer {

template <>
struct LanesOf<double> {
  using Type = PlainLane<double>;
};
TESSERA_ROW_KERNELS(double);

}  // namespace tessera::trainer
