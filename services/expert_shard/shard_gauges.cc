#include "services/expert_shard/shard_gauges.h"

#include "common/device/host_memory.h"

namespace tessera::expert_shard {

ShardGauges::ShardGauges(Registry& registry, const Registry::Labels& labels)
    : units_(registry.AddGauge("tessera_expert_shard_units_held",
                               "Units (layer, expert) in memory.", labels)),
      slots_(registry.AddGauge("tessera_expert_shard_slots", "Units it has room for.", labels)),
      weight_bytes_(registry.AddGauge("tessera_expert_shard_weight_bytes",
                                      "Bytes of the weights of all units held.", labels)),
      resident_bytes_(registry.AddGauge("tessera_expert_shard_resident_bytes",
                                        "Resident set of the process.", labels)),
      busy_ratio_(registry.AddGauge("tessera_expert_shard_busy_ratio",
                                    "Share of the last second in which the compute threads had "
                                    "work.",
                                    labels)),
      peers_(registry.AddGauge("tessera_expert_shard_peers", "Routers connected.", labels)),
      bytes_received_(registry.AddCounter("tessera_expert_shard_received_bytes_total",
                                          "Bytes of frames from routers.", labels)),
      bytes_sent_(registry.AddCounter("tessera_expert_shard_sent_bytes_total",
                                      "Bytes of frames to routers.", labels)),
      peers_lost_(registry.AddCounter("tessera_expert_shard_peers_lost_total",
                                      "Routers that went by error, hang or silence.", labels)),
      peers_cut_off_(registry.AddCounter("tessera_expert_shard_peers_cut_off_total",
                                         "Connections ended because the peer sent garbage or was "
                                         "refused.",
                                         labels)),
      corrupt_payloads_(registry.AddCounter("tessera_expert_shard_corrupt_payloads_total",
                                            "Calls whose checksum did not match.", labels)) {}

void ShardGauges::Set(const ExpertTable& table, double busy_ratio, const ExchangeServer& exchange) {
  units_.Set(static_cast<double>(table.unit_count()));
  slots_.Set(static_cast<double>(table.slot_count()));
  weight_bytes_.Set(static_cast<double>(table.size_bytes()));
  resident_bytes_.Set(static_cast<double>(ResidentBytes()));
  busy_ratio_.Set(busy_ratio);
  peers_.Set(static_cast<double>(exchange.peer_count()));
  const ExchangeStats stats = exchange.Stats();
  const auto count = [](Counter& counter, uint64_t now, uint64_t before) {
    counter.Increment(static_cast<double>(now - before));
  };
  count(bytes_received_, stats.bytes_received, counted_.bytes_received);
  count(bytes_sent_, stats.bytes_sent, counted_.bytes_sent);
  count(peers_lost_, stats.peers_lost, counted_.peers_lost);
  count(peers_cut_off_, stats.peers_cut_off, counted_.peers_cut_off);
  count(corrupt_payloads_, stats.corrupt_payloads, counted_.corrupt_payloads);
  counted_ = stats;
}

}  // namespace tessera::expert_shard
