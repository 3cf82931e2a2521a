#include "tests/support/tiny_gateway.h"

#include <utility>

#include "tests/support/tiny_tokenizer.h"

namespace tessera::testing {

StubRouterOptions Storyteller(std::string story) {
  StubRouterOptions options;
  options.eos_token = kTinyEos;
  options.token = [story = std::move(story)](const wire::GenerationParams&, uint32_t index) {
    return index < story.size() ? TinyId(story[index]) : kTinyEos;
  };
  return options;
}

gateway::GatewayConfig TinyGateway(const std::string& folder, std::vector<std::string> routers,
                                   size_t context_max) {
  WriteTinyText(TinyServedSpec(context_max), folder);
  gateway::GatewayConfig config;
  config.text.folder = folder;
  config.rest.model_names = {"tiny"};
  config.rest.version = "0";
  config.pool.addresses = std::move(routers);
  config.grpc_listen = "";
  config.admin_listen = "";
  return config;
}

}  // namespace tessera::testing
