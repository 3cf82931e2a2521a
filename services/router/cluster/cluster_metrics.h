#pragma once

// What operators see of the cluster.

#include "common/metrics/metrics.h"

namespace tessera::router {

struct ClusterMetrics {
  explicit ClusterMetrics(Registry& registry)
      : loading(Shards(registry, "loading")),
        ready(Shards(registry, "ready")),
        draining(Shards(registry, "draining")),
        missing(Shards(registry, "lost")),
        leads(registry.AddGauge("tessera_router_leads",
                                "1: keeps the registry of shards; 0: follows the router that "
                                "does.")),
        linked(registry.AddGauge("tessera_router_shards_linked",
                                 "Expert shards this router has a data connection to.")),
        epoch(registry.AddGauge("tessera_router_placement_epoch",
                                "Epoch of the newest placement map.")),
        copies_min(registry.AddGauge(
            "tessera_router_expert_copies_min",
            "Fewest live copies any expert has, burst shards left out; 0: steps wait.")),
        copies_wanted(registry.AddGauge("tessera_router_expert_copies_wanted",
                                        "Live copies every expert is to have, by the config.")),
        units_missing(registry.AddGauge("tessera_router_experts_missing",
                                        "(layer, expert) units without a live copy.")),
        units_unplaceable(
            registry.AddGauge("tessera_router_experts_unplaceable",
                              "Units without a live copy that no shard has a free slot for.")),
        heartbeat_age(registry.AddGauge("tessera_router_heartbeat_age_seconds",
                                        "Age of the oldest last heartbeat of a living shard.")),
        drains_unfinished(registry.AddCounter("tessera_router_drains_unfinished_total",
                                              "Shards whose time to leave was over before others "
                                              "had what they alone held.")),
        lost(registry.AddCounter("tessera_router_shards_lost_total",
                                 "Shards that left without draining.")),
        connects(registry.AddCounter("tessera_router_shard_connects_total",
                                     "Data connections made to shards, reconnects included.")),
        downs(registry.AddCounter("tessera_router_shard_downs_total",
                                  "Data connections to shards that broke.")),
        loads(registry.AddCounter("tessera_router_unit_loads_total",
                                  "Units loaded by shards on this router's order.")),
        drops(registry.AddCounter("tessera_router_unit_drops_total",
                                  "Surplus copies let go on this router's order.")),
        load_bytes(registry.AddCounter("tessera_router_unit_load_bytes_total",
                                       "Bytes shards read for those loads.")),
        moves_pending(registry.AddGauge("tessera_router_unit_moves_pending",
                                        "Units that shards load or drop now on this router's "
                                        "order.")),
        round_age(registry.AddGauge("tessera_router_cluster_round_age_seconds",
                                    "Since the thread that repairs the cluster looked last; high: "
                                    "it hangs.")),
        load_failures(registry.AddCounter("tessera_router_unit_load_failures_total",
                                          "Orders to load or drop that failed.")),
        load_seconds(registry.AddHistogram("tessera_router_unit_load_seconds",
                                           "Time one order to load units took.",
                                           {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30})) {}

  Gauge loading;
  Gauge ready;
  Gauge draining;
  Gauge missing;  // lost and not back
  Gauge leads;
  Gauge linked;
  Gauge epoch;
  Gauge copies_min;
  Gauge copies_wanted;
  Gauge units_missing;
  Gauge units_unplaceable;
  Gauge heartbeat_age;
  Counter drains_unfinished;
  Counter lost;
  Counter connects;
  Counter downs;
  Counter loads;
  Counter drops;
  Counter load_bytes;
  Gauge moves_pending;
  Gauge round_age;
  Counter load_failures;
  Histogram load_seconds;

 private:
  static Gauge Shards(Registry& registry, const char* state) {
    return registry.AddGauge("tessera_router_shards",
                             "Expert shards by state; lost: left without draining and not back.",
                             {{"state", state}});
  }
};

}  // namespace tessera::router
