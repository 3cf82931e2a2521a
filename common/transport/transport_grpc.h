#pragma once

// Frames over the bidirectional stream tessera.v1.ExpertShard.Exchange: passes every mesh and every
// proxy, several times slower than the other ways, copies each frame once at either end.
//
//   router: MakeGrpcTransport ─Open─► stream ─► ExpertShard.Exchange ─► GrpcDoor ─► transport:
//   shard

#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/tls_files.h"
#include "common/transport/transport.h"

namespace grpc {
class CallbackServerContext;
template <class Request, class Response>
class ServerBidiReactor;
}  // namespace grpc

namespace tessera {

namespace v1 {
class Frame;
}  // namespace v1

struct GrpcTransportConfig {
  TlsFiles tls;  // empty: plain text
  size_t frame_bytes_max = size_t{64} << 20;
  // What waits to be sent on a link. A peer that does not read is cut off at this; the credits of
  // an exchange keep an honest one far below.
  size_t unsent_bytes_max = size_t{256} << 20;
  // What arrived on a link and was not polled yet; beyond it gRPC makes the sender wait.
  size_t unread_bytes_max = size_t{16} << 20;
};

class GrpcStreams;  // what a transport shares with its streams

// Where the streams of a gRPC service come in. The service owns it together with the transport:
//
//   class ExpertService : public v1::ExpertShard::CallbackService {
//     grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Exchange(
//         grpc::CallbackServerContext* context) override { return door_->Accept(context); }
//   };
//
// End the exchange before the server stops, or the server waits its stop_timeout for the streams.
// Thread-safe.
class GrpcDoor {
 public:
  // Takes a stream over. It is refused with UNAVAILABLE while no transport listens here.
  grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Accept(grpc::CallbackServerContext* context);

 private:
  friend class GrpcTransport;
  absl::Mutex mutex_;
  std::weak_ptr<GrpcStreams> listener_ ABSL_GUARDED_BY(mutex_);
};

// Addresses are "host:port" or "[v6]:port"; names are looked up by gRPC.
//
// With a door, Listen opens it and returns its argument, the address that the service is known by;
// without one, Listen starts a gRPC server of its own there (port 0: any) that knows nothing but
// Exchange. A peer that dies or cancels is kDown at once.
std::unique_ptr<Transport> MakeGrpcTransport(const GrpcTransportConfig& config,
                                             std::shared_ptr<GrpcDoor> door = nullptr);

}  // namespace tessera
