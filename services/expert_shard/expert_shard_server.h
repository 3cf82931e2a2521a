#pragma once

// The whole house: weights, data plane, control plane, registration, admin listener.
//
//   routers ══frames══► ExchangeServer ─► compute thread: RowBatcher ─► answers
//           ══gRPC════► ExpertService ─► SessionTable, UnitLoader
//           ◄═gRPC═════ Registrar

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/run_main.h"
#include "common/transport/exchange.h"
#include "common/transport/transport.h"
#include "common/transport/transport_loopback.h"
#include "services/expert_shard/batching/row_batcher.h"
#include "services/expert_shard/expert_shard_config.h"
#include "services/expert_shard/experts/expert_store.h"

namespace tessera::expert_shard {

// What a process that hosts several shards lends them.
struct ExpertShardParts {
  std::shared_ptr<LoopbackNetwork> loopback;  // for data_listen "loopback:NAME"; may be null
  // Used instead of what data_listen names (which is then given to its Listen without the scheme);
  // may be null.
  std::unique_ptr<Transport> transport;
  ExchangeConfig exchange;
};

// Thread-safe.
class ExpertShardServer final : public Service {
 public:
  // Returns when it serves: weights loaded and checked, listeners open, registration begun. `clock`
  // must outlive it. Errors: those of the config, of ShardModel::Load, of listeners and files.
  static absl::StatusOr<std::unique_ptr<ExpertShardServer>> Start(const ExpertShardConfig& config,
                                                                  const Clock& clock,
                                                                  ExpertShardParts parts = {});
  // Without Stop: ends at once, as far as routers see by a broken connection.
  ~ExpertShardServer() override;

  // grpc, data, admin (if there is one).
  std::vector<std::pair<std::string, std::string>> Endpoints() const override;
  // Leaves the map, refuses new calls, answers those that are here, closes: within drain_max and a
  // little. A second Stop does nothing.
  void Stop() override;

  std::string grpc_address() const;
  std::string data_address() const;
  std::string admin_address() const;  // empty: none
  uint64_t incarnation() const;
  ExpertStore& store();
  BatchTotals totals() const;
  size_t registered_count() const;  // routers that know it
  // Why it takes no work now; empty: it does.
  std::vector<std::string> NotReadyReasons() const;

 private:
  class House;
  explicit ExpertShardServer(std::unique_ptr<House> house);
  std::unique_ptr<House> house_;
};

// tessera-expert, for RunMain.
ServiceProgram BuildExpertShard();

}  // namespace tessera::expert_shard
