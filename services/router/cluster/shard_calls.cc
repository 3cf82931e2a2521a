#include "services/router/cluster/shard_calls.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "tessera/v1/expert.grpc.pb.h"

namespace tessera::router {
namespace {

v1::RowDtype ToProto(wire::RowDType dtype) {
  return dtype == wire::RowDType::kF32 ? v1::ROW_DTYPE_F32 : v1::ROW_DTYPE_BF16;
}

absl::StatusOr<SessionGrant> ToGrant(const v1::OpenSessionReply& reply, const SessionOffer& offer) {
  SessionGrant grant;
  if (reply.token().size() != grant.token.size() || reply.incarnation() == 0 ||
      reply.credits() == 0 || reply.credits() > offer.credits || reply.rows_max() == 0 ||
      reply.rows_max() > offer.rows_max) {
    return absl::DataLossError(absl::StrCat(
        "OpenSession granted a token of ", reply.token().size(), " bytes, incarnation ",
        reply.incarnation(), ", ", reply.credits(), " credits, ", reply.rows_max(),
        " rows; expected 16, > 0, 1..", offer.credits, ", 1..", offer.rows_max));
  }
  TESSERA_ASSIGN_OR_RETURN(const wire::ModelIdentity model, wire::ToModelIdentity(reply.model()));
  TESSERA_RETURN_IF_ERROR(wire::CompareModels(offer.model, model, offer.strict));
  std::copy(reply.token().begin(), reply.token().end(), grant.token.begin());
  grant.data_address = reply.data_address();
  grant.incarnation = reply.incarnation();
  grant.credits = reply.credits();
  grant.rows_max = reply.rows_max();
  return grant;
}

}  // namespace

absl::Duration ReadTimeMax(size_t units, const wire::ModelIdentity& model,
                           uint32_t bytes_per_second_max) {
  constexpr double kSlowest = 64 << 20;  // bytes a second, of a disk or a network that is still one
  constexpr double kMatrices = 3;        // gate, up, down
  const double unit_bytes = kMatrices * sizeof(uint16_t) * static_cast<double>(model.d_model) *
                            static_cast<double>(model.expert_width);
  const double rate =
      bytes_per_second_max == 0 ? kSlowest : std::min<double>(kSlowest, bytes_per_second_max);
  return absl::Seconds(2 * unit_bytes * static_cast<double>(units) / rate);
}

struct ShardCalls::State {
  // Runs one call so that Cancel reaches it.
  absl::Status Call(absl::Duration timeout,
                    absl::FunctionRef<grpc::Status(grpc::ClientContext&)> call) {
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    {
      absl::MutexLock lock(&mutex);
      if (cancelled) return absl::CancelledError("the router ended its calls to this shard");
      running = &context;
    }
    const absl::Status status = FromGrpc(call(context));
    absl::MutexLock lock(&mutex);
    running = nullptr;
    return status;
  }

  absl::Status ProveTo(absl::Duration timeout, v1::Proof& proof) {
    const auto greet = [&](const v1::GreetRequest& request, v1::GreetReply& reply) {
      return Call(timeout, [&](grpc::ClientContext& context) {
        return stub->Greet(&context, request, &reply);
      });
    };
    return Prove(secret, greet, proof);
  }

  ClusterSecret secret;
  std::string address;
  std::unique_ptr<v1::ExpertShard::Stub> stub;
  absl::Mutex mutex;
  grpc::ClientContext* running ABSL_GUARDED_BY(mutex) = nullptr;
  bool cancelled ABSL_GUARDED_BY(mutex) = false;
};

ShardCalls::ShardCalls(std::unique_ptr<State> state) : state_(std::move(state)) {}
ShardCalls::~ShardCalls() = default;

absl::StatusOr<std::unique_ptr<ShardCalls>> ShardCalls::Create(const std::string& address,
                                                               const ClusterSecret& secret,
                                                               const TlsFiles& tls) {
  // A connection may take so long on a loaded box; who comes too late is not gone.
  TESSERA_ASSIGN_OR_RETURN(
      auto channel,
      MakeChannel({.address = address, .reconnect_min = absl::Seconds(1), .tls = tls}));
  auto state = std::make_unique<State>();
  state->secret = secret;
  state->address = address;
  state->stub = v1::ExpertShard::NewStub(channel);
  return std::unique_ptr<ShardCalls>(new ShardCalls(std::move(state)));
}

absl::StatusOr<SessionGrant> ShardCalls::OpenSession(const SessionOffer& offer,
                                                     absl::Duration timeout) {
  v1::OpenSessionRequest request;
  if (absl::Status status = state_->ProveTo(timeout / 2, *request.mutable_proof()); !status.ok()) {
    return Annotate(status, state_->address);
  }
  wire::ToProto(offer.model, *request.mutable_model());
  request.set_frame_version(wire::kFrameVersion);
  request.set_session(offer.session);
  request.set_credits_wanted(offer.credits);
  request.set_rows_max(offer.rows_max);
  request.set_strict(offer.strict);
  request.set_rows_up(ToProto(offer.dtype_up));
  request.set_rows_down(ToProto(offer.dtype_down));
  v1::OpenSessionReply reply;
  const absl::Status status = state_->Call(timeout / 2, [&](grpc::ClientContext& context) {
    return state_->stub->OpenSession(&context, request, &reply);
  });
  if (!status.ok()) return Annotate(status, state_->address);
  absl::StatusOr<SessionGrant> grant = ToGrant(reply, offer);
  if (!grant.ok()) return Annotate(grant.status(), state_->address);
  return grant;
}

absl::StatusOr<LoadOutcome> ShardCalls::LoadExperts(const LoadOrder& order,
                                                    absl::Duration timeout) {
  v1::LoadExpertsRequest request;
  const absl::Duration greeting = std::min(timeout, absl::Seconds(2));
  if (absl::Status status = state_->ProveTo(greeting, *request.mutable_proof()); !status.ok()) {
    return Annotate(status, state_->address);
  }
  for (const UnitToLoad& unit : order.load) {
    v1::UnitToLoad& entry = *request.add_load();
    entry.set_layer(static_cast<uint32_t>(unit.layer));
    entry.set_expert(static_cast<uint32_t>(unit.expert));
    entry.set_slot(unit.slot);
    entry.set_peer_grpc_address(unit.peer);
  }
  for (const wire::HeldUnit& unit : order.drop) {
    v1::HeldUnit& entry = *request.add_drop();
    entry.set_layer(static_cast<uint32_t>(unit.layer));
    entry.set_expert(static_cast<uint32_t>(unit.expert));
    entry.set_slot(unit.slot);
    entry.set_weights_version(unit.weights_version);
  }
  request.set_bytes_per_second_max(order.bytes_per_second_max);
  v1::LoadExpertsReply reply;
  const absl::Status status = state_->Call(timeout, [&](grpc::ClientContext& context) {
    return state_->stub->LoadExperts(&context, request, &reply);
  });
  if (!status.ok()) return Annotate(status, state_->address);
  LoadOutcome outcome;
  outcome.held_version = reply.held_version();
  outcome.read_bytes = reply.read_bytes();
  for (const v1::HeldUnit& unit : reply.held()) {
    outcome.held.push_back(
        {LayerIndex{unit.layer()}, ExpertId{unit.expert()}, unit.slot(), unit.weights_version()});
  }
  return outcome;
}

void ShardCalls::Cancel() {
  absl::MutexLock lock(&state_->mutex);
  state_->cancelled = true;
  if (state_->running != nullptr) state_->running->TryCancel();
}

}  // namespace tessera::router
