#include "services/router/router_server.h"

int main(int argc, char** argv) {
  return tessera::RunMain(argc, argv, &tessera::router::BuildRouter);
}
