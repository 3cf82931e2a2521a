#include "tests/support/shard_control.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/expert.grpc.pb.h"

namespace tessera::testing {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(20);

v1::RowDtype ToProtoDtype(wire::RowDType dtype) {
  return dtype == wire::RowDType::kF32 ? v1::ROW_DTYPE_F32 : v1::ROW_DTYPE_BF16;
}

void Fill(const wire::HeldUnit& unit, v1::HeldUnit& message) {
  message.set_layer(static_cast<uint32_t>(unit.layer));
  message.set_expert(static_cast<uint32_t>(unit.expert));
  message.set_slot(unit.slot);
  message.set_weights_version(unit.weights_version);
}

void Fill(const SessionWish& wish, v1::OpenSessionRequest& request) {
  wire::ToProto(wish.model, *request.mutable_model());
  request.set_frame_version(wire::kFrameVersion);
  request.set_session(wish.session);
  request.set_credits_wanted(wish.credits);
  request.set_rows_max(wish.rows_max);
  request.set_strict(wish.strict);
  request.set_rows_up(ToProtoDtype(wish.rows_up));
  request.set_rows_down(ToProtoDtype(wish.rows_down));
}

}  // namespace

struct ShardControl::State {
  std::unique_ptr<v1::ExpertShard::Stub> stub;
  ClusterSecret secret;

  template <typename Run>
  absl::Status Call(const Run& run) const {
    grpc::ClientContext context;
    SetTimeout(context, kTimeout);
    return FromGrpc(run(&context));
  }
  absl::Status ProveTo(v1::Proof& proof) const {
    return Prove(
        secret,
        [this](const v1::GreetRequest& request, v1::GreetReply& reply) {
          return Call([&](grpc::ClientContext* c) { return stub->Greet(c, request, &reply); });
        },
        proof);
  }
};

ShardControl::ShardControl(const std::string& grpc_address, ClusterSecret secret)
    : state_(std::make_unique<State>()) {
  state_->stub = v1::ExpertShard::NewStub(*MakeChannel({.address = grpc_address}));
  state_->secret = std::move(secret);
}
ShardControl::~ShardControl() = default;

absl::StatusOr<OpenedSession> ShardControl::OpenSession(SessionWish wish) {
  v1::OpenSessionRequest request;
  v1::OpenSessionReply reply;
  Fill(wish, request);
  TESSERA_RETURN_IF_ERROR(state_->ProveTo(*request.mutable_proof()));
  TESSERA_RETURN_IF_ERROR(state_->Call(
      [&](grpc::ClientContext* c) { return state_->stub->OpenSession(c, request, &reply); }));
  OpenedSession opened;
  opened.data_address = reply.data_address();
  TESSERA_ASSIGN_OR_RETURN(opened.model, wire::ToModelIdentity(reply.model()));
  wire::Hello& hello = opened.hello;
  hello.session = wish.session;
  if (reply.token().size() != hello.token.size()) return absl::InternalError("a token of no size");
  std::copy(reply.token().begin(), reply.token().end(), hello.token.begin());
  TESSERA_ASSIGN_OR_RETURN(hello.model_hash, wire::ToModelHash(opened.model.model_hash));
  hello.geometry = {.d_model = opened.model.d_model,
                    .layer_count = opened.model.layer_count,
                    .expert_count = opened.model.expert_count,
                    .rows_max = reply.rows_max(),
                    .pairs_max = reply.rows_max() * opened.model.top_k,
                    .dtype_up = wish.rows_up,
                    .dtype_down = wish.rows_down,
                    .strict = wish.strict};
  hello.credits = reply.credits();
  hello.kernel_level = wire::KernelLevelNumber(opened.model.kernel_level);
  return opened;
}

absl::StatusOr<std::vector<wire::HeldUnit>> ShardControl::LoadExperts(
    std::span<const wire::HeldUnit> load, std::span<const wire::HeldUnit> drop,
    const std::string& peer) {
  v1::LoadExpertsRequest request;
  v1::LoadExpertsReply reply;
  for (const wire::HeldUnit& unit : load) {
    v1::UnitToLoad& message = *request.add_load();
    message.set_layer(static_cast<uint32_t>(unit.layer));
    message.set_expert(static_cast<uint32_t>(unit.expert));
    message.set_slot(unit.slot);
    message.set_peer_grpc_address(peer);
  }
  for (const wire::HeldUnit& unit : drop) Fill(unit, *request.add_drop());
  TESSERA_RETURN_IF_ERROR(state_->ProveTo(*request.mutable_proof()));
  TESSERA_RETURN_IF_ERROR(state_->Call(
      [&](grpc::ClientContext* c) { return state_->stub->LoadExperts(c, request, &reply); }));
  std::vector<wire::HeldUnit> held;
  for (const v1::HeldUnit& unit : reply.held()) {
    held.push_back(
        {LayerIndex{unit.layer()}, ExpertId{unit.expert()}, unit.slot(), unit.weights_version()});
  }
  return held;
}

absl::Status ShardControl::LoadAndGiveUp(std::span<const wire::HeldUnit> load,
                                         std::span<const wire::HeldUnit> drop,
                                         absl::Duration after) {
  v1::LoadExpertsRequest request;
  v1::LoadExpertsReply reply;
  for (const wire::HeldUnit& unit : load) {
    v1::UnitToLoad& message = *request.add_load();
    message.set_layer(static_cast<uint32_t>(unit.layer));
    message.set_expert(static_cast<uint32_t>(unit.expert));
    message.set_slot(unit.slot);
  }
  for (const wire::HeldUnit& unit : drop) Fill(unit, *request.add_drop());
  request.set_bytes_per_second_max(1);
  TESSERA_RETURN_IF_ERROR(state_->ProveTo(*request.mutable_proof()));
  return state_->Call([&](grpc::ClientContext* c) {
    SetTimeout(*c, after);
    return state_->stub->LoadExperts(c, request, &reply);
  });
}

absl::StatusOr<ShardCounts> ShardControl::Stats() {
  v1::StatsRequest request;
  v1::StatsReply reply;
  request.set_units(true);
  TESSERA_RETURN_IF_ERROR(state_->Call(
      [&](grpc::ClientContext* c) { return state_->stub->Stats(c, request, &reply); }));
  ShardCounts counts{.state = static_cast<wire::ShardState>(reply.state()),
                     .incarnation = reply.incarnation(),
                     .calls = reply.load().calls_total(),
                     .units = static_cast<size_t>(reply.units_size())};
  for (const v1::UnitStats& unit : reply.units()) counts.unit_rows += unit.rows();
  return counts;
}

absl::Status ShardControl::OpenUnproven() {
  v1::OpenSessionRequest request;
  v1::OpenSessionReply reply;
  return state_->Call(
      [&](grpc::ClientContext* c) { return state_->stub->OpenSession(c, request, &reply); });
}

}  // namespace tessera::testing
