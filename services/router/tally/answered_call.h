#pragma once

// What an answered call came to. Dispatch writes one record an answer; at the end of a step the
// tally, the costs and the fair shares read them.

#include <cstdint>

#include "common/base/ids.h"

namespace tessera::router {

struct AnsweredCall {
  LayerIndex layer{};
  ShardId shard{};
  uint32_t pairs = 0;    // (row, expert)
  uint32_t experts = 0;  // different ones
  uint32_t compute_us = 0;
  bool alone = false;  // the shard's batch had nothing else in it: compute_us is this call's
};

}  // namespace tessera::router
