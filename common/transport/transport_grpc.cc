#include "common/transport/transport_grpc.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/transport/grpc_streams.h"
#include "common/transport/socket_address.h"

namespace tessera {
namespace {

// A server that knows nothing but the exchange.
class ExchangeOnlyService final : public v1::ExpertShard::CallbackService {
 public:
  explicit ExchangeOnlyService(std::shared_ptr<GrpcDoor> door) : door_(std::move(door)) {}
  grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Exchange(
      grpc::CallbackServerContext* context) override {
    return door_->Accept(context);
  }

 private:
  const std::shared_ptr<GrpcDoor> door_;
};

}  // namespace

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(const GrpcTransportConfig& config, std::shared_ptr<GrpcDoor> door)
      : streams_(std::make_shared<GrpcStreams>(config)), door_(std::move(door)) {}
  ~GrpcTransport() override { streams_->EndAll(); }

  absl::StatusOr<std::string> Listen(const std::string& address) override;
  absl::StatusOr<LinkId> Open(const std::string& address) override;
  void Close(LinkId link, bool flush) override;
  bool Send(LinkId link, std::span<const std::byte> frame, std::shared_ptr<const void> memory,
            uint64_t token) override;
  void Release(void* memory) override;
  void Poll(std::vector<TransportEvent>& events) override;
  bool Arm() override;
  void Sleep(absl::Duration timeout) override;
  void Wake() override;
  std::string Describe(LinkId) override { return "grpc"; }

 private:
  const std::shared_ptr<GrpcStreams> streams_;
  std::shared_ptr<GrpcDoor> door_;
  bool listens_ = false;
  std::unique_ptr<ExchangeOnlyService> service_;  // of our own server, if we have one
  std::unique_ptr<RpcServer> server_;
};

absl::StatusOr<std::string> GrpcTransport::Listen(const std::string& address) {
  if (listens_) return absl::FailedPreconditionError("already listens");
  const bool own_server = door_ == nullptr;
  if (own_server) {
    TESSERA_RETURN_IF_ERROR(SplitHostPort(address).status());
    door_ = std::make_shared<GrpcDoor>();
  }
  std::string bound = address;
  {
    absl::MutexLock lock(&door_->mutex_);
    if (door_->listener_.lock() != nullptr) {
      return absl::FailedPreconditionError("another transport listens at this door");
    }
    door_->listener_ = streams_;
  }
  if (own_server) {
    service_ = std::make_unique<ExchangeOnlyService>(door_);
    RpcServerConfig config;
    config.listen = address;
    config.message_bytes_max = streams_->config.frame_bytes_max;
    config.stop_timeout = absl::Milliseconds(100);  // our streams have ended before
    config.tls = streams_->config.tls;
    auto server =
        RpcServer::Start(config, {{v1::ExpertShard::service_full_name(), service_.get()}});
    if (!server.ok()) {
      door_ = nullptr;
      return server.status();
    }
    server_ = *std::move(server);
    server_->SetServing(true);
    bound = server_->address();
  }
  listens_ = true;
  return bound;
}

absl::StatusOr<LinkId> GrpcTransport::Open(const std::string& address) {
  TESSERA_RETURN_IF_ERROR(SplitHostPort(address).status());
  ChannelConfig config;
  config.address = address;
  config.message_bytes_max = streams_->config.frame_bytes_max;
  config.tls = streams_->config.tls;
  // A channel serves one stream and never reconnects; this is how long connecting may take.
  config.reconnect_min = config.reconnect_max = absl::Seconds(10);
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, MakeChannel(config));
  absl::MutexLock lock(&streams_->mutex);
  auto* stream = new GrpcClientStream(streams_, channel);  // deletes itself in OnDone
  const LinkId link = streams_->Add(stream);
  stream->Start();
  return link;
}

void GrpcTransport::Close(LinkId link, bool flush) {
  absl::MutexLock lock(&streams_->mutex);
  if (GrpcStream* stream = streams_->Find(link)) stream->Close(flush);
}

bool GrpcTransport::Send(LinkId link, std::span<const std::byte> frame, std::shared_ptr<const void>,
                         uint64_t) {
  absl::MutexLock lock(&streams_->mutex);
  if (GrpcStream* stream = streams_->Find(link)) stream->Write(frame);
  return true;  // it was copied
}

void GrpcTransport::Release(void* memory) {
  absl::MutexLock lock(&streams_->mutex);
  streams_->lent.erase(memory);
}

void GrpcTransport::Poll(std::vector<TransportEvent>& events) {
  streams_->ReleaseChannels();
  absl::MutexLock lock(&streams_->mutex);
  if (streams_->events.empty()) return;
  std::ranges::move(streams_->events, std::back_inserter(events));
  streams_->events.clear();
  for (const auto& [link, stream] : streams_->streams) stream->ReadOn();
}

bool GrpcTransport::Arm() {
  absl::MutexLock lock(&streams_->mutex);
  return streams_->events.empty();
}

void GrpcTransport::Sleep(absl::Duration timeout) {
  absl::MutexLock lock(&streams_->mutex);
  if (!streams_->woken && streams_->events.empty()) {
    streams_->changed.WaitWithTimeout(&streams_->mutex, timeout);
  }
  streams_->woken = false;
}

void GrpcTransport::Wake() {
  absl::MutexLock lock(&streams_->mutex);
  streams_->woken = true;
  streams_->changed.Signal();
}

std::unique_ptr<Transport> MakeGrpcTransport(const GrpcTransportConfig& config,
                                             std::shared_ptr<GrpcDoor> door) {
  return std::make_unique<GrpcTransport>(config, std::move(door));
}

}  // namespace tessera
