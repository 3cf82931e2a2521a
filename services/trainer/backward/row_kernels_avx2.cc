#include "services/trainer/backward/lanes_avx2.h"
#include "services/trainer/backward/row_kernels_by_lanes.h"

namespace tessera::trainer {

template <>
struct LanesOf<float> {
  using Type = FloatLanes;
};
TESSERA_ROW_KERNELS(float);

}  // namespace tessera::trainer
