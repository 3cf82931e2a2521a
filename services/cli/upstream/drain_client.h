#pragma once

// Asks a leading router to take a shard out of its map.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::cli {

// Returns when what only this shard held is elsewhere and no call names it any more. `secret_file`
// may be empty.
//   kNotFound           the router does not know the shard: there is nothing to drain
//   kResourceExhausted  the others have no room for what it alone holds; it stays
//   kDeadlineExceeded, kUnavailable
absl::Status DrainShard(const std::string& router_address, const std::string& secret_file,
                        uint32_t shard, absl::Duration timeout);

}  // namespace tessera::cli
