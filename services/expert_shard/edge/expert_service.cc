#include "services/expert_shard/edge/expert_service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/rpc/rpc_status.h"
#include "common/wire/crc32c.h"
#include "services/expert_shard/registration/report_wire.h"
#include "tessera/v1/expert.grpc.pb.h"

namespace tessera::expert_shard {
namespace {

absl::StatusOr<wire::RowDType> ToRowDType(const char* field, v1::RowDtype dtype) {
  if (dtype == v1::ROW_DTYPE_F32) return wire::RowDType::kF32;
  if (dtype == v1::ROW_DTYPE_BF16) return wire::RowDType::kBF16;
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", static_cast<int>(dtype), ", expected 1 (f32) or 2 (bf16)"));
}

absl::StatusOr<SessionRequest> ToSessionRequest(const v1::OpenSessionRequest& message) {
  SessionRequest request;
  TESSERA_ASSIGN_OR_RETURN(request.model, wire::ToModelIdentity(message.model()));
  TESSERA_ASSIGN_OR_RETURN(request.rows_up, ToRowDType("rows_up", message.rows_up()));
  TESSERA_ASSIGN_OR_RETURN(request.rows_down, ToRowDType("rows_down", message.rows_down()));
  request.frame_version = message.frame_version();
  request.session = message.session();
  request.credits_wanted = message.credits_wanted();
  request.rows_max = message.rows_max();
  request.strict = message.strict();
  return request;
}

LoadOrder ToLoadOrder(const v1::LoadExpertsRequest& message) {
  LoadOrder order;
  for (const v1::UnitToLoad& unit : message.load()) {
    order.load.push_back({{LayerIndex{unit.layer()}, ExpertId{unit.expert()}},
                          unit.slot(),
                          unit.peer_grpc_address()});
  }
  for (const v1::HeldUnit& unit : message.drop()) {
    order.drop.push_back({{LayerIndex{unit.layer()}, ExpertId{unit.expert()}}, unit.slot(), ""});
  }
  order.bytes_per_second_max = message.bytes_per_second_max();
  return order;
}

wire::HeldUnit ToHeldUnit(const HeldExpert& held) {
  return {held.unit.layer, held.unit.expert, held.slot, held.weights_version};
}

// Sends a unit as the checkpoint stores it, chunk by chunk. Deletes itself in the end.
class UnitSender final : public grpc::ServerWriteReactor<v1::UnitChunk> {
 public:
  static constexpr size_t kChunkBytes = size_t{1} << 20;

  explicit UnitSender(const absl::Status& refused) : store_(nullptr) { Finish(ToGrpc(refused)); }
  UnitSender(const ExpertStore& store, const ExpertUnit& unit)
      : store_(&store), parts_(StoredParts(store.manifest().expert(unit.layer, unit.expert))) {
    SendNext();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller is gone"));
    SendNext();
  }
  void OnDone() override { delete this; }

 private:
  void SendNext() {
    // What was read counts only if the file is still what it was.
    if (part_ == parts_.size()) return Finish(ToGrpc(store_->checkpoint().Verify()));
    std::span<const std::byte>& left = parts_[part_];
    const auto chunk = left.first(std::min(left.size(), kChunkBytes));
    left = left.subspan(chunk.size());
    if (left.empty()) ++part_;
    chunk_.set_data(chunk.data(), chunk.size());
    // Of what goes out: the file may change while it is read.
    chunk_.set_crc32c(
        wire::Crc32c(std::as_bytes(std::span(chunk_.data().data(), chunk_.data().size()))));
    StartWrite(&chunk_);
  }

  const ExpertStore* const store_;
  std::vector<std::span<const std::byte>> parts_;
  size_t part_ = 0;
  v1::UnitChunk chunk_;
};

grpc::ServerUnaryReactor* FinishWith(grpc::CallbackServerContext* context,
                                     const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace

class ExpertService::Impl final : public v1::ExpertShard::CallbackService {
 public:
  explicit Impl(ExpertServiceRooms rooms) : rooms_(std::move(rooms)) {}

  grpc::ServerUnaryReactor* Greet(grpc::CallbackServerContext* context,
                                  const v1::GreetRequest* request, v1::GreetReply* reply) override {
    return FinishWith(context, rooms_.proofs.Greet(*request, *reply));
  }

  grpc::ServerUnaryReactor* OpenSession(grpc::CallbackServerContext* context,
                                        const v1::OpenSessionRequest* request,
                                        v1::OpenSessionReply* reply) override {
    const absl::Status status = Open(*request, *reply);
    if (!status.ok()) {
      TESSERA_LOG(WARNING) << "a router at " << context->peer() << " gets no session: " << status;
    }
    return FinishWith(context, status);
  }

  grpc::ServerUnaryReactor* LoadExperts(grpc::CallbackServerContext* context,
                                        const v1::LoadExpertsRequest* request,
                                        v1::LoadExpertsReply* reply) override {
    if (const absl::Status proven = rooms_.proofs.Check(request->proof()); !proven.ok()) {
      return FinishWith(context, proven);
    }
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    LoadOrder order = ToLoadOrder(*request);
    order.is_cancelled = [context] { return context->IsCancelled(); };  // lives until Finish
    rooms_.loader.Submit(std::move(order),
                         [this, reactor, reply](const absl::StatusOr<LoadOutcome>& outcome) {
                           if (outcome.ok()) FillReply(*outcome, *reply);
                           reactor->Finish(ToGrpc(outcome.status()));
                         });
    return reactor;
  }

  grpc::ServerWriteReactor<v1::UnitChunk>* FetchUnit(grpc::CallbackServerContext*,
                                                     const v1::FetchUnitRequest* request) override {
    if (const absl::Status proven = rooms_.proofs.Check(request->proof()); !proven.ok()) {
      return new UnitSender(proven);
    }
    const auto table = rooms_.store.Snapshot();
    const ExpertUnit unit{LayerIndex{request->layer()}, ExpertId{request->expert()}};
    const HeldExpert* held = table->Find(unit.layer, unit.expert);
    if (held == nullptr) {
      return new UnitSender(absl::NotFoundError(absl::StrCat(NameOf(unit), " is not held here")));
    }
    if (held->weights_version != request->weights_version()) {
      return new UnitSender(absl::FailedPreconditionError(
          absl::StrCat(NameOf(unit), " is held here in version ", held->weights_version,
                       "; asked is ", request->weights_version())));
    }
    return new UnitSender(rooms_.store, unit);
  }

  grpc::ServerUnaryReactor* Stats(grpc::CallbackServerContext* context,
                                  const v1::StatsRequest* request, v1::StatsReply* reply) override {
    const ShardReport report = rooms_.report(/*with_held=*/false);
    reply->set_shard_id(static_cast<uint32_t>(rooms_.shard));
    reply->set_incarnation(rooms_.sessions.limits().incarnation);
    reply->set_state(static_cast<v1::ShardState>(report.state));
    ToProto(report.load, *reply->mutable_load());
    if (request->units()) AddUnits(*reply);
    const BatchTotals totals = rooms_.batcher.totals();
    for (size_t i = 1; i < totals.nacks.size(); ++i) {
      v1::NackCount& count = *reply->add_nacks();
      count.set_reason(std::string(wire::NameOf(static_cast<wire::NackReason>(i))));
      count.set_count(totals.nacks[i]);
    }
    reply->set_peers_cut_off(rooms_.exchange_stats().peers_cut_off);
    return FinishWith(context, absl::OkStatus());
  }

  grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Exchange(
      grpc::CallbackServerContext* context) override {
    return rooms_.door->Accept(context);
  }

 private:
  absl::Status Open(const v1::OpenSessionRequest& request, v1::OpenSessionReply& reply) {
    TESSERA_RETURN_IF_ERROR(rooms_.proofs.Check(request.proof()));
    TESSERA_ASSIGN_OR_RETURN(const SessionRequest wanted, ToSessionRequest(request));
    TESSERA_ASSIGN_OR_RETURN(const SessionGrant grant, rooms_.sessions.Open(wanted));
    const std::string data_address = rooms_.data_address();
    if (data_address.empty()) return absl::UnavailableError("the shard is still starting");
    reply.set_token(std::string(grant.token.begin(), grant.token.end()));
    reply.set_data_address(data_address);
    reply.set_incarnation(rooms_.sessions.limits().incarnation);
    reply.set_credits(grant.credits);
    reply.set_rows_max(grant.rows_max);
    wire::ToProto(rooms_.sessions.limits().model, *reply.mutable_model());
    return absl::OkStatus();
  }

  void FillReply(const LoadOutcome& outcome, v1::LoadExpertsReply& reply) const {
    const auto table = rooms_.store.Snapshot();
    for (size_t slot = 0; slot < table->slot_count(); ++slot) {
      if (const HeldExpert* held = table->AtSlot(slot); held != nullptr) {
        ToProto(ToHeldUnit(*held), *reply.add_held());
      }
    }
    reply.set_held_version(table->version());
    reply.set_read_bytes(outcome.read_bytes);
    reply.set_took_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(outcome.took)));
  }

  void AddUnits(v1::StatsReply& reply) const {
    const auto table = rooms_.store.Snapshot();
    for (const HeldExpert* held : table->ByUnit()) {
      const UnitCounters::Counts counts = rooms_.batcher.units().Of(held->unit);
      v1::UnitStats& unit = *reply.add_units();
      unit.set_layer(static_cast<uint32_t>(held->unit.layer));
      unit.set_expert(static_cast<uint32_t>(held->unit.expert));
      unit.set_calls(counts.calls);
      unit.set_rows(counts.rows);
    }
  }

  const ExpertServiceRooms rooms_;
};

ExpertService::ExpertService(ExpertServiceRooms rooms)
    : impl_(std::make_unique<Impl>(std::move(rooms))) {}
ExpertService::~ExpertService() = default;

NamedService ExpertService::service() {
  return {v1::ExpertShard::service_full_name(), impl_.get()};
}

}  // namespace tessera::expert_shard
