#pragma once

// Calls as a router writes them and a shard receives them, without anything in between.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/moe/dispatch_plan.h"
#include "common/wire/call_wire.h"
#include "services/expert_shard/batching/call_answers.h"
#include "tests/services/expert_shard/loaded_model.h"

namespace tessera::expert_shard {

inline wire::FrameGeometry GeometryOf(const ModelSpec& spec, bool strict = false,
                                      wire::RowDType up = wire::RowDType::kF32,
                                      wire::RowDType down = wire::RowDType::kF32) {
  return {.d_model = static_cast<uint32_t>(spec.d_model),
          .layer_count = static_cast<uint32_t>(spec.layer_count),
          .expert_count = static_cast<uint32_t>(spec.expert_count),
          .rows_max = 512,
          .pairs_max = static_cast<uint32_t>(512 * spec.top_k),
          .dtype_up = up,
          .dtype_down = down,
          .strict = strict};
}

// What a router knows of a shard that holds all of `store`.
inline Placement PlacementOf(const ExpertStore& store, const ModelSpec& spec) {
  std::vector<PlacedUnit> units;
  const auto table = store.Snapshot();
  for (size_t slot = 0; slot < table->slot_count(); ++slot) {
    const HeldExpert* held = table->AtSlot(slot);
    if (held == nullptr) continue;
    units.push_back({held->unit.layer,
                     held->unit.expert,
                     {ShardId{0}, static_cast<uint32_t>(slot), held->weights_version}});
  }
  return *Placement::Build(Epoch{1}, {spec.layer_count, spec.expert_count}, std::move(units));
}

// All of `routing` as one call's plan.
inline ShardPlan PlanFor(const ExpertStore& store, const ModelSpec& spec, LayerIndex layer,
                         const RoutingView& routing) {
  DispatchPlan plan;
  PlanDispatch(layer, routing, PlacementOf(store, spec), {}, plan);
  EXPECT_EQ(plan.shards.size(), 1u);
  return plan.shards.at(0);
}

// A call that arrived at `arrived`, with memory of its own.
inline IncomingCall MakeCall(const wire::FrameGeometry& geometry, const wire::CallOptions& options,
                             const ShardPlan& plan, ConstMatrixView rows, uint64_t peer = 1,
                             absl::Duration arrived = {}) {
  struct Memory {
    std::vector<uint64_t> call;
    std::vector<uint64_t> reply;
  };
  auto memory = std::make_shared<Memory>();
  memory->call.resize(wire::CallBytesMax(geometry) / 8 + 1);
  memory->reply.resize(wire::ReplyBytesMax(geometry) / 8 + 1);
  const auto space = std::as_writable_bytes(std::span(memory->call));
  const auto header = wire::WriteCall(geometry, options, plan, rows, space);
  EXPECT_TRUE(header.ok()) << header.status();
  const auto frame = wire::SealFrame(*header, /*checksum_payload=*/true, space);
  const auto call = wire::ReadCall(geometry, *wire::ReadHeader(frame), frame);
  EXPECT_TRUE(call.ok()) << call.status();
  const auto reply = std::as_writable_bytes(std::span(memory->reply));
  return {PeerId{peer}, *call, arrived, geometry, reply, memory, {}};
}

// Keeps what is answered.
class CollectingAnswers final : public CallAnswers {
 public:
  struct Answer {
    IncomingCall call;
    wire::ReplyTrailer trailer;  // with the reason of a NACK
    Epoch epoch{};               // of a NACK
  };
  void Reply(IncomingCall call, const wire::ReplyTrailer& trailer) override {
    answers.push_back({std::move(call), trailer, Epoch{}});
  }
  void Nack(IncomingCall call, wire::NackReason reason, Epoch epoch) override {
    wire::ReplyTrailer trailer;
    trailer.reason = reason;
    answers.push_back({std::move(call), trailer, epoch});
  }
  std::vector<Answer> answers;
};

}  // namespace tessera::expert_shard
