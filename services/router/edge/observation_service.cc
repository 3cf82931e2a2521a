#include "services/router/edge/observation_service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <utility>

#include "tessera/v1/observation.grpc.pb.h"

namespace tessera::router {

wire::ExpertLoad LoadOf(const ExpertTally& tally, std::vector<wire::ShardActivity> activities,
                        absl::Duration now) {
  ExpertTally::Counts counts = tally.Window(now);
  wire::ExpertLoad load;
  load.window = ExpertTally::window();
  const auto experts = static_cast<ptrdiff_t>(tally.expert_count());
  auto first = counts.rows.begin();
  for (const LayerIndex layer : tally.layers()) {
    load.layers.push_back({layer, {first, first + experts}});
    first += experts;
  }
  load.shards = std::move(activities);
  for (wire::ShardActivity& shard : load.shards) {
    const auto found = std::ranges::find(counts.shards, shard.shard,
                                         [](const ExpertTally::ShardCounts& c) { return c.shard; });
    shard.layer_rows = found != counts.shards.end() ? std::move(found->layer_rows)
                                                    : std::vector<uint64_t>(load.layers.size());
  }
  return load;
}

class ObservationService::Impl final : public v1::Observation::CallbackService {
 public:
  explicit Impl(std::function<wire::ExpertLoad()> load) : load_(std::move(load)) {}

  grpc::ServerUnaryReactor* ExpertLoad(grpc::CallbackServerContext* context,
                                       const v1::ExpertLoadRequest*,
                                       v1::ExpertLoadReply* reply) override {
    wire::ToProto(load_(), *reply);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const std::function<wire::ExpertLoad()> load_;
};

ObservationService::ObservationService(std::function<wire::ExpertLoad()> load)
    : impl_(std::make_unique<Impl>(std::move(load))) {}
ObservationService::~ObservationService() = default;

NamedService ObservationService::named() {
  return {v1::Observation::service_full_name(), impl_.get()};
}

}  // namespace tessera::router
