#include "services/expert_shard/expert_shard_server.h"

int main(int argc, char** argv) {
  return tessera::RunMain(argc, argv, &tessera::expert_shard::BuildExpertShard);
}
