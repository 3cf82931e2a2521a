#pragma once

// A gateway of the tiny text before stub routers, for tests that speak with it.

#include <string>
#include <vector>

#include "services/gateway/gateway_config.h"
#include "tests/support/stub_router.h"

namespace tessera::testing {

// Says `story`, a token a byte, whatever it is asked, and stops.
StubRouterOptions Storyteller(std::string story);

// Writes the tiny text into `folder`, for a model of that context, and serves it as "tiny": HTTP on
// a free port of the loopback, no gRPC, no admin port.
gateway::GatewayConfig TinyGateway(const std::string& folder, std::vector<std::string> routers,
                                   size_t context_max = 512);

}  // namespace tessera::testing
