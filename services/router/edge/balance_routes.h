#pragma once

// The balancer on the router's admin listener.
//
//   GET  /balance           what the last look found and would do or does; balance_report.h
//   POST /balance/look      looks now and tells, with the next GET, what it would do: a dry run
//   POST /balance/trigger   a round of moves now, whatever the threshold says, though frozen
//   POST /balance/freeze    no round by itself any more; the one under way ends as soon as it can
//   POST /balance/thaw      again as configured
//
// 503 until the router has joined its cluster, 409 where another router leads.

#include <functional>
#include <vector>

#include "common/http/http_server.h"
#include "services/router/cluster/cluster.h"

namespace tessera::router {

// `cluster` gives null before there is one; it outlives the server that has these routes.
std::vector<HttpRoute> BalanceRoutes(std::function<Cluster*()> cluster);

}  // namespace tessera::router
