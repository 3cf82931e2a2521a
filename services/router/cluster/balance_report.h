#pragma once

// What the balancer knows, for operators and `tessera plan`.

#include <string>

#include "services/router/balance/measured_balance.h"
#include "services/router/cluster/balancer.h"

namespace tessera::router {

// {"verdict":"moving","frozen":false,"look_age_seconds":1.5,"balance":0.61,"planned":0.97,
//  "gain":0.59,"steps":812,"window_balance":0.63,"step_balance":0.41,
//  "costs":{"call_us":20,"touch_us":55,"row_us":1.5,"fitted":true},
//  "moves":[{"kind":"copy","layer":2,"expert":7,"to":1},...],"pending":3,"rounds":1}
// At most `moves_max` moves are listed; "loads" counts all.
std::string BalanceJson(const Balancer& balancer, const MeasuredBalance& measured,
                        absl::Duration now, size_t moves_max = 1000);

}  // namespace tessera::router
