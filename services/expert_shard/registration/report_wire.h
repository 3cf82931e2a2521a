#pragma once

// Reports as the protos have them.

#include "common/wire/placement_wire.h"
#include "services/expert_shard/registration/shard_report.h"

namespace tessera::v1 {
class HeldUnit;
class ShardLoad;
}  // namespace tessera::v1

namespace tessera::expert_shard {

void ToProto(const ShardLoad& load, v1::ShardLoad& message);
void ToProto(const wire::HeldUnit& unit, v1::HeldUnit& message);

}  // namespace tessera::expert_shard
