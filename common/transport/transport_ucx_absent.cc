#include "common/transport/transport_ucx.h"

namespace tessera {

void SetUcxEnvironment() {}

absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxConfig&) {
  return absl::UnavailableError("this build has no UCX (TESSERA_UCX is off); use grpc: addresses");
}

}  // namespace tessera
