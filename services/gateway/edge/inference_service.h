#pragma once

#include <memory>

#include "services/gateway/edge/call_service.h"

namespace tessera::gateway {

// tessera.v1.Inference: the gateway's own gRPC.
std::unique_ptr<CallService> MakeInferenceService(InferenceRooms rooms);

}  // namespace tessera::gateway
