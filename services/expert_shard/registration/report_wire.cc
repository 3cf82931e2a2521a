#include "services/expert_shard/registration/report_wire.h"

#include "tessera/v1/cluster.pb.h"
#include "tessera/v1/placement.pb.h"

namespace tessera::expert_shard {

void ToProto(const ShardLoad& load, v1::ShardLoad& message) {
  message.set_busy_ratio(static_cast<float>(load.busy_ratio));
  message.set_queue_wait_ms_p50(
      static_cast<float>(absl::ToDoubleMilliseconds(load.queue_wait_median)));
  message.set_rows_queued(load.rows_queued);
  message.set_calls_total(load.calls_total);
  message.set_rows_total(load.rows_total);
  message.set_resident_bytes(load.resident_bytes);
}

void ToProto(const wire::HeldUnit& unit, v1::HeldUnit& message) {
  message.set_layer(static_cast<uint32_t>(unit.layer));
  message.set_expert(static_cast<uint32_t>(unit.expert));
  message.set_slot(unit.slot);
  message.set_weights_version(unit.weights_version);
}

}  // namespace tessera::expert_shard
