#include "common/wire/placement_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tessera/v1/placement.pb.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

ShardDescriptor Shard(uint32_t id) {
  ShardDescriptor shard;
  shard.shard = ShardId{id};
  shard.incarnation = 5;
  shard.grpc_address = std::string("[::1]:8020");
  shard.data_address = "ucx:[::1]:8021";
  shard.state = ShardState::kReady;
  shard.slot_count = 10;
  shard.zone = std::string("rack-a");
  return shard;
}

PublishedPlacement Sample() {
  PublishedPlacement published;
  published.shards = {Shard(0), Shard(4)};
  published.placement = *Placement::Build(Epoch{8}, {3, 4},
                                          {{LayerIndex{1}, ExpertId{3}, {ShardId{4}, 1, 2}},
                                           {LayerIndex{1}, ExpertId{3}, {ShardId{0}, 0, 2}},
                                           {LayerIndex{2}, ExpertId{0}, {ShardId{0}, 9, 2}}});
  return published;
}

TEST(PlacementWireTest, PlacementsSurviveTheRoundTrip) {
  v1::Placement message;
  ToProto(Sample(), message);
  const auto read = ToPublishedPlacement(message);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->placement.epoch(), Epoch{8});
  EXPECT_EQ(read->shards, Sample().shards);
  EXPECT_EQ(read->placement.replicas(LayerIndex{1}, ExpertId{3}).size(), 2u);
  EXPECT_EQ(read->placement.replicas(LayerIndex{2}, ExpertId{0})[0], (Replica{ShardId{0}, 9, 2}));
  EXPECT_EQ(read->placement.Units().size(), 3u);
}

TEST(PlacementWireTest, DescriptorsSurviveTheRoundTrip) {
  ShardDescriptor shard = Shard(3);
  shard.held = {{LayerIndex{1}, ExpertId{2}, 3, 4}};
  shard.held_version = 1ull << 40;
  v1::ShardDescriptor message;
  ToProto(shard, message);
  const auto read = ToShardDescriptor(message);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, shard);
}

TEST(PlacementWireTest, ErrorsSayWhatIsWrong) {
  const auto error = [](auto damage) {
    v1::Placement message;
    ToProto(Sample(), message);
    damage(message);
    const auto read = ToPublishedPlacement(message);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  };
  EXPECT_THAT(error([](v1::Placement& p) { p.set_epoch(0); }), HasSubstr("epoch 0"));
  EXPECT_THAT(error([](v1::Placement& p) { p.set_layer_count(1u << 30); }), HasSubstr("layers"));
  EXPECT_THAT(error([](v1::Placement& p) { p.mutable_shards()->RemoveLast(); }),
              HasSubstr("not described"));
  EXPECT_THAT(error([](v1::Placement& p) { p.mutable_shards(1)->set_shard_id(0); }),
              HasSubstr("ascending"));
  EXPECT_THAT(error([](v1::Placement& p) { p.mutable_shards(1)->set_incarnation(0); }),
              HasSubstr("incarnation"));
  EXPECT_THAT(
      error([](v1::Placement& p) { p.mutable_shards(1)->set_state(v1::SHARD_STATE_UNSPECIFIED); }),
      HasSubstr("state"));
  EXPECT_THAT(error([](v1::Placement& p) { p.mutable_layers(0)->set_layer(3); }),
              HasSubstr("out of range"));
  EXPECT_THAT(error([](v1::Placement& p) {
                v1::HeldUnit& unit = *p.mutable_shards(0)->add_held();
                unit.set_slot(10);
              }),
              HasSubstr("slot 10 of 10"));
}

}  // namespace
}  // namespace tessera::wire
