#include "services/expert_shard/expert_shard_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <utility>

#include "tessera/config/v1/expert_shard.pb.h"
#include "tests/support/tiny_model.h"

namespace tessera::expert_shard {
namespace {

using ::testing::HasSubstr;

TEST(ExpertShardConfigTest, DefaultsSurviveTheMessage) {
  const auto message = ExpertShardDefaults();
  dynamic_cast<config::v1::ExpertShard&>(*message).set_model("/m");
  const auto config = ToExpertShardConfig(*message);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model, "/m");
  EXPECT_EQ(config->grpc_listen, ExpertShardConfig().grpc_listen);
  EXPECT_EQ(config->data_listen, "ucx:127.0.0.1:8021");
  EXPECT_EQ(config->slots_spare, -1);
  EXPECT_EQ(config->drain_max, absl::Seconds(3));
  EXPECT_EQ(config->ucx.transports, "posix,tcp,self");
}

TEST(ExpertShardConfigTest, AnIdIsDrawnBehindThoseWithAPlace) {
  ExpertShardConfig config;
  config.model = "/m";
  config.slice = {.shard_id = 2, .shard_count = 4};
  EXPECT_EQ(WithDrawnId(config, 7).slice.shard_id, 2u) << "not asked for";
  config.draw_shard_id = true;
  EXPECT_TRUE(config.Validate().ok());
  EXPECT_EQ(WithDrawnId(config, 0).slice.shard_id, 4u);
  EXPECT_EQ(WithDrawnId(config, kDrawnIds - 1).slice.shard_id, 4u + kDrawnIds - 1);
  EXPECT_EQ(WithDrawnId(config, kDrawnIds).slice.shard_id, 4u);
  config.slice.shard_count = 65000;
  EXPECT_THAT(config.Validate().message(), HasSubstr("shard_count"));
}

TEST(ExpertShardConfigTest, EachFieldOutOfRangeIsNamed) {
  using Change = std::function<void(ExpertShardConfig&)>;
  const std::vector<std::pair<Change, std::string>> cases = {
      {[](ExpertShardConfig& c) { c.model = ""; }, "model"},
      {[](ExpertShardConfig& c) { c.slice.shard_id = 70000; }, "shard_id"},
      {[](ExpertShardConfig& c) { c.slice.shard_count = 0; }, "shard_count"},
      {[](ExpertShardConfig& c) { c.slice.replicas = 2; }, "replicas"},
      {[](ExpertShardConfig& c) { c.slots_spare = -2; }, "slots_spare"},
      {[](ExpertShardConfig& c) { c.credits_max = 0; }, "credits_max"},
      {[](ExpertShardConfig& c) { c.rows_max = 65537; }, "rows_max"},
      {[](ExpertShardConfig& c) { c.routers_max = 0; }, "routers_max"},
      {[](ExpertShardConfig& c) { c.drain_max = -absl::Seconds(1); }, "drain_seconds"},
      {[](ExpertShardConfig& c) { c.data_listen = "carrier:pigeon"; }, "data_listen"},
      {[](ExpertShardConfig& c) { c.data_advertise = "pigeon"; }, "data_advertise"},
      {[](ExpertShardConfig& c) { c.compute.precision = "double"; }, "precision"},
      {[](ExpertShardConfig& c) { c.compute.expert_dtype = "q3"; }, "q3"},
      {[](ExpertShardConfig& c) { c.compute.weights = "painted"; }, "weights"},
  };
  ExpertShardConfig good;
  good.model = "/m";
  ASSERT_TRUE(good.Validate().ok());
  for (const auto& [change, word] : cases) {
    ExpertShardConfig config = good;
    change(config);
    const absl::Status status = config.Validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << word;
    EXPECT_THAT(status.message(), HasSubstr(word));
  }
}

TEST(BaseUnitsTest, EveryUnitLiesOnAsManyShardsAsThereAreReplicas) {
  const ModelSpec spec = testing::TinySpec();
  for (const uint32_t count : {1u, 2u, 3u, 7u, 8u, 11u}) {
    for (uint32_t replicas = 1; replicas <= count; ++replicas) {
      std::multiset<uint32_t> copies;
      for (uint32_t shard = 0; shard < count; ++shard) {
        for (const ExpertUnit& unit : BaseUnits(spec, {shard, count, replicas})) {
          if (unit.layer == LayerIndex{1}) copies.insert(static_cast<uint32_t>(unit.expert));
        }
      }
      for (uint32_t expert = 0; expert < spec.expert_count; ++expert) {
        EXPECT_EQ(copies.count(expert), replicas) << "expert " << expert << " of " << count;
      }
    }
  }
  EXPECT_TRUE(BaseUnits(spec, {.shard_id = 3, .shard_count = 3}).empty());
  EXPECT_EQ(BaseUnits(spec, {.shard_id = 1, .shard_count = 2}).front().expert, ExpertId{4});
}

TEST(SpareSlotsTest, AQuarterOrWhatALostShardLeaves) {
  const ModelSpec spec = testing::TinySpec();  // 32 units
  EXPECT_EQ(SpareSlots(spec, {.shard_id = 0, .shard_count = 1}, 100), 0u) << "it has them all";
  EXPECT_EQ(SpareSlots(spec, {.shard_id = 0, .shard_count = 2}, 100), 16u);
  EXPECT_EQ(SpareSlots(spec, {.shard_id = 0, .shard_count = 2}, 6), 6u);
  EXPECT_EQ(SpareSlots(spec, {.shard_id = 0, .shard_count = 2}, 0), 4u);
  EXPECT_EQ(SpareSlots(spec, {.shard_id = 9, .shard_count = 2}, 0), 4u) << "begins with nothing";
}

TEST(SpareSlotsTest, TogetherTheOthersTakeWhatTheLargestLeaves) {
  const ModelSpec spec = testing::TinySpec();  // 8 experts a layer: slices of 3, 3 and 2 of them
  for (const uint32_t count : {2u, 3u, 5u, 7u, 11u}) {
    for (uint32_t lost = 0; lost < count; ++lost) {
      size_t spare = 0;
      for (uint32_t shard = 0; shard < count; ++shard) {
        if (shard != lost)
          spare += SpareSlots(spec, {.shard_id = shard, .shard_count = count}, 100);
      }
      EXPECT_GE(spare, BaseUnits(spec, {.shard_id = lost, .shard_count = count}).size())
          << "shard " << lost << " of " << count;
    }
  }
}

}  // namespace
}  // namespace tessera::expert_shard
