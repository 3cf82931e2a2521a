#pragma once

#include <memory>

#include "services/gateway/edge/call_service.h"

namespace tessera::gateway {

// inference.GRPCInferenceService: the Open Inference Protocol's six calls, for what speaks to every
// model server alike.
std::unique_ptr<CallService> MakeKserveService(InferenceRooms rooms);

}  // namespace tessera::gateway
