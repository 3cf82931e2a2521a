#pragma once

#include "common/metrics/metrics.h"
#include "common/transport/exchange_server.h"
#include "services/expert_shard/experts/expert_table.h"

namespace tessera::expert_shard {

// What Prometheus sees of a shard beside its calls. Set before the metrics are
// read.
class ShardGauges {
 public:
  ShardGauges(Registry& registry, const Registry::Labels& labels);
  void Set(const ExpertTable& table, double busy_ratio, const ExchangeServer& exchange);

 private:
  Gauge units_;
  Gauge slots_;
  Gauge weight_bytes_;
  Gauge resident_bytes_;
  Gauge busy_ratio_;
  Gauge peers_;
  Counter bytes_received_;
  Counter bytes_sent_;
  Counter peers_lost_;
  Counter peers_cut_off_;
  Counter corrupt_payloads_;
  ExchangeStats counted_;  // by the counters, so far
};

}  // namespace tessera::expert_shard
