#pragma once

// The streams of a gRPC transport and what they bring: gRPC's threads put in, Poll takes out.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/transport/transport.h"
#include "common/transport/transport_grpc.h"
#include "tessera/v1/expert.grpc.pb.h"

namespace tessera {

// One end of a stream. At most one read and one write are under way; what is to be sent meanwhile
// waits. Everything is guarded by the mutex of its GrpcStreams. Deletes itself when gRPC is done.
class GrpcStream {
 public:
  explicit GrpcStream(std::shared_ptr<GrpcStreams> streams);
  virtual ~GrpcStream() = default;

  void Write(std::span<const std::byte> frame);
  // The owner wants nothing more of it. flush: what was written goes out first.
  void Close(bool flush);
  // Reads on if reading waits for a Poll.
  void ReadOn();

  // Of gRPC's threads.
  void ReadDone(bool ok);
  void WriteDone(bool ok);
  void Cancelled();
  // The last of all: no event of this stream follows, and nobody finds it any more.
  void Done(const absl::Status& status);

  LinkId link{};
  size_t unread_bytes = 0;

 protected:
  // Ways of the two ends, all non-blocking.
  virtual void BeginRead(v1::Frame& frame) = 0;
  virtual void BeginWrite(const v1::Frame& frame) = 0;
  virtual void Cancel() = 0;  // operations under way fail soon
  // Everything was written, nothing more comes; called once. Says what of the stream that ends.
  enum class Ended : uint8_t { kWriting, kBoth };
  virtual Ended EndWriting() = 0;
  virtual void PeerHasEnded() {}  // reading came to its end; called once

  const std::shared_ptr<GrpcStreams> streams_;

 private:
  void EndIfWritten();

  v1::Frame incoming_;
  std::deque<v1::Frame> outgoing_;  // the first is being written if writing_
  size_t unsent_bytes_ = 0;
  bool writing_ = false;
  bool reading_ = false;
  bool read_ended_ = false;
  bool ending_ = false;         // EndWriting follows when all is written
  bool writing_ended_ = false;  // EndWriting was called
  bool closed_ = false;         // by our owner: no more events
  absl::Status failure_;        // why we gave it up, if we did
};

// Shared by a transport and its streams.
class GrpcStreams : public std::enable_shared_from_this<GrpcStreams> {
 public:
  explicit GrpcStreams(const GrpcTransportConfig& config) : config(config) {}

  // Registers a stream. Takes ownership until it is done.
  LinkId Add(GrpcStream* stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void Push(TransportEvent event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Makes an event of what arrived.
  void PushFrame(LinkId link, std::unique_ptr<std::string> frame)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  GrpcStream* Find(LinkId link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // A new stream of a client; nullptr once the transport is gone.
  grpc::ServerBidiReactor<v1::Frame, v1::Frame>* Accept(grpc::CallbackServerContext* context);
  // A stream that was found no more is deleted, too. `channel` was its own, or null: the last
  // reference to a channel must not go on a thread of gRPC's, which would wait for itself.
  void Deleted(std::shared_ptr<grpc::Channel> channel);
  // Lets the channels of deleted streams go. Without the mutex, not on gRPC's threads.
  void ReleaseChannels();
  // Ends all streams and waits until they are deleted.
  void EndAll();

  const GrpcTransportConfig config;
  absl::Mutex mutex;
  absl::CondVar changed;
  absl::flat_hash_map<LinkId, GrpcStream*> streams ABSL_GUARDED_BY(mutex);
  std::vector<TransportEvent> events ABSL_GUARDED_BY(mutex);
  absl::flat_hash_map<void*, std::unique_ptr<std::string>> lent ABSL_GUARDED_BY(mutex);
  bool woken ABSL_GUARDED_BY(mutex) = false;
  bool ended ABSL_GUARDED_BY(mutex) = false;

 private:
  uint64_t next_link_ ABSL_GUARDED_BY(mutex) = 1;
  size_t streams_left_ ABSL_GUARDED_BY(mutex) = 0;  // not yet deleted
  std::vector<std::shared_ptr<grpc::Channel>> unused_channels_ ABSL_GUARDED_BY(mutex);
};

// The client's end.
class GrpcClientStream final : public GrpcStream,
                               public grpc::ClientBidiReactor<v1::Frame, v1::Frame> {
 public:
  GrpcClientStream(std::shared_ptr<GrpcStreams> streams,
                   const std::shared_ptr<grpc::Channel>& channel);
  void Start();

  void OnReadDone(bool ok) override { ReadDone(ok); }
  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnDone(const grpc::Status& status) override;

 protected:
  void BeginRead(v1::Frame& frame) override { StartRead(&frame); }
  void BeginWrite(const v1::Frame& frame) override { StartWrite(&frame); }
  void Cancel() override { context_.TryCancel(); }
  Ended EndWriting() override {
    StartWritesDone();
    return Ended::kWriting;
  }
  void PeerHasEnded() override { RemoveHold(); }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::ExpertShard::Stub> stub_;
  grpc::ClientContext context_;
};

// The server's end.
class GrpcServerStream final : public GrpcStream,
                               public grpc::ServerBidiReactor<v1::Frame, v1::Frame> {
 public:
  GrpcServerStream(std::shared_ptr<GrpcStreams> streams, grpc::CallbackServerContext* context)
      : GrpcStream(std::move(streams)), context_(context) {}

  void OnReadDone(bool ok) override { ReadDone(ok); }
  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnCancel() override { Cancelled(); }
  void OnDone() override;

 protected:
  void BeginRead(v1::Frame& frame) override { StartRead(&frame); }
  void BeginWrite(const v1::Frame& frame) override { StartWrite(&frame); }
  void Cancel() override { context_->TryCancel(); }
  Ended EndWriting() override {
    Finish(grpc::Status::OK);
    return Ended::kBoth;
  }

 private:
  grpc::CallbackServerContext* const context_;
};

}  // namespace tessera
