#include "services/expert_shard/edge/peer_units.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "common/wire/crc32c.h"
#include "tessera/v1/expert.grpc.pb.h"

namespace tessera::expert_shard {

class PeerUnits::Impl {
 public:
  Impl(ClusterSecret secret, TlsFiles tls, absl::Duration patience)
      : secret_(std::move(secret)), tls_(std::move(tls)), patience_(patience) {}

  absl::Status Fetch(const std::string& address, const ExpertUnit& unit, uint64_t weights_version,
                     std::span<std::byte> bytes) {
    TESSERA_ASSIGN_OR_RETURN(auto channel, MakeChannel({.address = address, .tls = tls_}));
    const auto stub = v1::ExpertShard::NewStub(std::move(channel));
    v1::FetchUnitRequest request;
    const auto greet = [&](const v1::GreetRequest& greeting, v1::GreetReply& reply) {
      return Call(patience_, [&](grpc::ClientContext& context) {
        return FromGrpc(stub->Greet(&context, greeting, &reply));
      });
    };
    TESSERA_RETURN_IF_ERROR(Prove(secret_, greet, *request.mutable_proof()));
    request.set_layer(static_cast<uint32_t>(unit.layer));
    request.set_expert(static_cast<uint32_t>(unit.expert));
    request.set_weights_version(weights_version);
    const absl::Duration transfer =
        absl::Seconds(static_cast<double>(bytes.size()) / kBytesPerSecondMin);
    return Call(patience_ + transfer, [&](grpc::ClientContext& context) {
      const auto stream = stub->FetchUnit(&context, request);
      const absl::Status read = ReadAll(*stream, context, bytes);
      const absl::Status end = FromGrpc(stream->Finish());
      if (read.ok() || absl::IsUnknown(read)) {
        return end.ok() && !read.ok() ? absl::DataLossError(read.message()) : end;
      }
      return read;
    });
  }

  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    for (grpc::ClientContext* context : running_) context->TryCancel();
  }

 private:
  // Runs one call that Stop can cut short.
  template <typename Run>
  absl::Status Call(absl::Duration timeout, const Run& run) {
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return absl::CancelledError("the shard stops");
      running_.insert(&context);
    }
    const absl::Status status = run(context);
    absl::MutexLock lock(&mutex_);
    running_.erase(&context);
    return status;
  }

  // kDataLoss: what came is wrong. kUnknown: it is incomplete, which the call's end explains.
  static absl::Status ReadAll(grpc::ClientReader<v1::UnitChunk>& stream,
                              grpc::ClientContext& context, std::span<std::byte> bytes) {
    size_t filled = 0;
    v1::UnitChunk chunk;
    while (stream.Read(&chunk)) {
      const std::string& data = chunk.data();
      const auto sent = std::as_bytes(std::span(data.data(), data.size()));
      if (sent.size() > bytes.size() - filled || wire::Crc32c(sent) != chunk.crc32c()) {
        context.TryCancel();
        return absl::DataLossError(absl::StrCat("a chunk of ", sent.size(), " bytes after ", filled,
                                                " of ", bytes.size(),
                                                " has a wrong size or checksum"));
      }
      std::copy(sent.begin(), sent.end(), bytes.begin() + static_cast<ptrdiff_t>(filled));
      filled += sent.size();
    }
    if (filled == bytes.size()) return absl::OkStatus();
    return absl::UnknownError(
        absl::StrCat("the stream ended after ", filled, " of ", bytes.size(), " bytes"));
  }

  const ClusterSecret secret_;
  const TlsFiles tls_;
  const absl::Duration patience_;

  absl::Mutex mutex_;
  absl::flat_hash_set<grpc::ClientContext*> running_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

PeerUnits::PeerUnits(ClusterSecret secret, TlsFiles tls, absl::Duration patience)
    : impl_(std::make_unique<Impl>(std::move(secret), std::move(tls), patience)) {}
PeerUnits::~PeerUnits() = default;

absl::Status PeerUnits::Fetch(const std::string& address, const ExpertUnit& unit,
                              uint64_t weights_version, std::span<std::byte> bytes) {
  return Annotate(impl_->Fetch(address, unit, weights_version, bytes),
                  absl::StrCat("shard at ", address));
}
void PeerUnits::Stop() { impl_->Stop(); }

}  // namespace tessera::expert_shard
