#include "services/gateway/gateway_server.h"

int main(int argc, char** argv) {
  return tessera::RunMain(argc, argv, &tessera::gateway::BuildGateway);
}
