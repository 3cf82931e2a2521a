#pragma once

// What operators see of the balancer: is it alive, what does it find, what does it move.

#include "common/metrics/metrics.h"

namespace tessera::router {

struct BalanceMetrics {
  explicit BalanceMetrics(Registry& registry)
      : planned_before(registry.AddGauge(
            "tessera_router_balance_estimated_ratio",
            "Mean over maximum of the shards' load, averaged over layers, as the last look "
            "estimated it for the placement of that moment; 1 is perfect.")),
        planned_after(registry.AddGauge("tessera_router_balance_planned_ratio",
                                        "The same after the moves of the last plan.")),
        window_ratio(registry.AddGauge(
            "tessera_router_balance_window_ratio",
            "Mean over maximum of the pairs shards got, per layer, averaged over layers, of the "
            "last 1000 steps together.")),
        step_ratio(registry.AddGauge("tessera_router_balance_step_ratio",
                                     "The same of each step, averaged over the last 1000.")),
        rounds(registry.AddCounter("tessera_router_balance_rounds_total",
                                   "Rounds of moves that were begun.")),
        looks(registry.AddCounter("tessera_router_balance_looks_total",
                                  "Looks at the balance, moves or not.")),
        steps_done(registry.AddCounter("tessera_router_balance_moves_total",
                                       "Moves, copies and drops carried out or given up.")),
        pending(registry.AddGauge("tessera_router_balance_moves_pending",
                                  "Moves of the round under way that are not done.")),
        pending_age(registry.AddGauge(
            "tessera_router_balance_stalled_seconds",
            "Time since the round under way got on; 0 without one. Above a minute: look at it.")),
        look_age(registry.AddGauge(
            "tessera_router_balance_look_age_seconds",
            "Time since the balancer's thread was last seen at work; rises if it hangs.")),
        plan_seconds(registry.AddGauge("tessera_router_balance_plan_seconds",
                                       "What the last plan took to make.")),
        frozen(registry.AddGauge("tessera_router_balance_frozen", "1: begins no round by itself.")),
        touch_us(registry.AddGauge("tessera_router_expert_touch_cost_seconds",
                                   "Fitted cost of reading one expert's weights for a call.")),
        row_us(registry.AddGauge("tessera_router_expert_row_cost_seconds",
                                 "Fitted cost of one (row, expert) pair of a call.")) {}

  Gauge planned_before;
  Gauge planned_after;
  Gauge window_ratio;
  Gauge step_ratio;
  Counter rounds;
  Counter looks;
  Counter steps_done;
  Gauge pending;
  Gauge pending_age;
  Gauge look_age;
  Gauge plan_seconds;
  Gauge frozen;
  Gauge touch_us;
  Gauge row_us;
};

}  // namespace tessera::router
