#pragma once

// tessera.v1.ExpertShard over gRPC: converts and passes on, no more.

#include <functional>
#include <memory>
#include <string>

#include "common/rpc/cluster_secret.h"
#include "common/rpc/server.h"
#include "common/transport/exchange.h"
#include "common/transport/transport_grpc.h"
#include "services/expert_shard/batching/row_batcher.h"
#include "services/expert_shard/edge/session_table.h"
#include "services/expert_shard/edge/unit_loader.h"
#include "services/expert_shard/registration/shard_report.h"

namespace tessera::expert_shard {

// What it passes on to; all borrowed but the door.
struct ExpertServiceRooms {
  ShardId shard{};
  ProofKeeper& proofs;
  SessionTable& sessions;
  UnitLoader& loader;
  const ExpertStore& store;
  const RowBatcher& batcher;
  ReportSource report;
  std::function<ExchangeStats()> exchange_stats;
  std::function<std::string()> data_address;  // what routers are told
  std::shared_ptr<GrpcDoor> door;             // of the data plane over gRPC
};

// Thread-safe; its calls run on gRPC's threads and do not wait.
class ExpertService {
 public:
  explicit ExpertService(ExpertServiceRooms rooms);
  ~ExpertService();

  // For RpcServer::Start; this object outlives the server.
  NamedService service();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::expert_shard
