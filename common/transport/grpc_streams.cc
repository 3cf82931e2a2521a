#include "common/transport/grpc_streams.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/rpc_status.h"

namespace tessera {
namespace {

// How long streams that were closed may take to deliver what was written before.
constexpr absl::Duration kFlushTimeout = absl::Milliseconds(200);

// Says no to a stream.
class Refusal final : public grpc::ServerBidiReactor<v1::Frame, v1::Frame> {
 public:
  Refusal() { Finish({grpc::StatusCode::UNAVAILABLE, "the exchange is not open here"}); }
  void OnDone() override { delete this; }
};

}  // namespace

GrpcStream::GrpcStream(std::shared_ptr<GrpcStreams> streams) : streams_(std::move(streams)) {}

void GrpcStream::Write(std::span<const std::byte> frame) {
  if (ending_ || writing_ended_ || !failure_.ok()) return;
  if (unsent_bytes_ + frame.size() > streams_->config.unsent_bytes_max) {
    failure_ = absl::UnavailableError(
        absl::StrCat("the peer leaves ", unsent_bytes_, " bytes unread, cut off"));
    Cancel();
    return;
  }
  outgoing_.emplace_back().set_data(frame.data(), frame.size());
  unsent_bytes_ += frame.size();
  if (writing_) return;
  writing_ = true;
  BeginWrite(outgoing_.front());
}

void GrpcStream::WriteDone(bool ok) {
  absl::MutexLock lock(&streams_->mutex);
  writing_ = false;
  if (!ok) {
    unsent_bytes_ = 0;
    outgoing_.clear();
  } else {
    unsent_bytes_ -= outgoing_.front().data().size();
    outgoing_.pop_front();
    if (!outgoing_.empty()) {
      writing_ = true;
      BeginWrite(outgoing_.front());
      return;
    }
  }
  EndIfWritten();
}

void GrpcStream::EndIfWritten() {
  if (!ending_ || writing_ || writing_ended_) return;
  writing_ended_ = true;
  // gRPC may be done with the stream at once, on another thread: nothing is begun behind it.
  read_ended_ |= EndWriting() == Ended::kBoth;
}

void GrpcStream::ReadOn() {
  unread_bytes = 0;
  if (reading_ || read_ended_) return;
  reading_ = true;
  BeginRead(incoming_);
}

void GrpcStream::ReadDone(bool ok) {
  absl::MutexLock lock(&streams_->mutex);
  reading_ = false;
  if (!ok) {
    if (std::exchange(read_ended_, true)) return;  // seen, or ended by us
    ending_ = true;
    EndIfWritten();
    PeerHasEnded();
    return;
  }
  if (!closed_) {
    unread_bytes += incoming_.data().size();
    streams_->PushFrame(link, std::unique_ptr<std::string>(incoming_.release_data()));
  }
  incoming_.Clear();
  if (read_ended_) return;
  if (unread_bytes > streams_->config.unread_bytes_max) return;  // until the next Poll
  reading_ = true;
  BeginRead(incoming_);
}

void GrpcStream::Cancelled() {
  absl::MutexLock lock(&streams_->mutex);
  ending_ = true;
  EndIfWritten();
}

void GrpcStream::Close(bool flush) {
  closed_ = true;
  ending_ = true;
  if (!flush) {
    if (outgoing_.size() > 1) outgoing_.erase(outgoing_.begin() + 1, outgoing_.end());
    Cancel();
  }
  EndIfWritten();
  if (!reading_) ReadOn();  // to see the end
}

void GrpcStream::Done(const absl::Status& status) {
  absl::MutexLock lock(&streams_->mutex);
  if (!closed_) {
    TransportEvent event;
    event.kind = TransportEvent::Kind::kDown;
    event.link = link;
    event.status = !failure_.ok() ? failure_
                   : !status.ok() ? absl::UnavailableError(status.message())
                                  : absl::UnavailableError("the peer ended the stream");
    streams_->Push(std::move(event));
  }
  streams_->streams.erase(link);
}

LinkId GrpcStreams::Add(GrpcStream* stream) {
  stream->link = LinkId{next_link_++};
  streams[stream->link] = stream;
  ++streams_left_;
  return stream->link;
}

void GrpcStreams::Push(TransportEvent event) {
  events.push_back(std::move(event));
  changed.SignalAll();
}

void GrpcStreams::PushFrame(LinkId link, std::unique_ptr<std::string> frame) {
  if (frame == nullptr) frame = std::make_unique<std::string>();
  TransportEvent event;
  event.kind = TransportEvent::Kind::kFrame;
  event.link = link;
  event.frame = std::as_bytes(std::span(*frame));
  event.memory = frame.get();
  lent[frame.get()] = std::move(frame);
  Push(std::move(event));
}

GrpcStream* GrpcStreams::Find(LinkId link) {
  const auto it = streams.find(link);
  return it == streams.end() ? nullptr : it->second;
}

grpc::ServerBidiReactor<v1::Frame, v1::Frame>* GrpcStreams::Accept(
    grpc::CallbackServerContext* context) {
  absl::MutexLock lock(&mutex);
  if (ended) return new Refusal;
  auto* stream = new GrpcServerStream(shared_from_this(), context);  // deletes itself in OnDone
  TransportEvent event;
  event.kind = TransportEvent::Kind::kAccepted;
  event.link = Add(stream);
  Push(std::move(event));
  stream->ReadOn();
  return stream;
}

void GrpcStreams::Deleted(std::shared_ptr<grpc::Channel> channel) {
  absl::MutexLock lock(&mutex);
  if (channel != nullptr) unused_channels_.push_back(std::move(channel));
  --streams_left_;
}

void GrpcStreams::ReleaseChannels() {
  std::vector<std::shared_ptr<grpc::Channel>> unused;
  absl::MutexLock lock(&mutex);
  unused.swap(unused_channels_);  // destroyed after the lock is given back
}

void GrpcStreams::EndAll() {
  {
    absl::MutexLock lock(&mutex);
    ended = true;
    // Those already closed get time to deliver their last words, the others are told now.
    for (const auto& [link, stream] : streams) stream->Close(/*flush=*/true);
    const auto none_left = [this]()
                               ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return streams_left_ == 0; };
    if (!mutex.AwaitWithTimeout(absl::Condition(&none_left), kFlushTimeout)) {
      for (const auto& [link, stream] : streams) stream->Close(/*flush=*/false);
      mutex.Await(absl::Condition(&none_left));
    }
  }
  ReleaseChannels();
}

GrpcClientStream::GrpcClientStream(std::shared_ptr<GrpcStreams> streams,
                                   const std::shared_ptr<grpc::Channel>& channel)
    : GrpcStream(std::move(streams)), channel_(channel), stub_(v1::ExpertShard::NewStub(channel)) {}

void GrpcClientStream::Start() {
  // No deadline: the stream lives as long as the connection; the exchange's pings watch over it.
  stub_->async()->Exchange(&context_, this);
  AddHold();  // writes begin outside of reactions
  ReadOn();
  StartCall();
}

void GrpcClientStream::OnDone(const grpc::Status& status) {
  Done(FromGrpc(status));
  const std::shared_ptr<GrpcStreams> streams = streams_;
  std::shared_ptr<grpc::Channel> channel = channel_;
  delete this;
  streams->Deleted(std::move(channel));
}

void GrpcServerStream::OnDone() {
  Done(absl::OkStatus());
  const std::shared_ptr<GrpcStreams> streams = streams_;
  delete this;
  streams->Deleted(nullptr);
}

grpc::ServerBidiReactor<v1::Frame, v1::Frame>* GrpcDoor::Accept(
    grpc::CallbackServerContext* context) {
  std::shared_ptr<GrpcStreams> listener;
  {
    absl::MutexLock lock(&mutex_);
    listener = listener_.lock();
  }
  if (listener == nullptr) return new Refusal;
  return listener->Accept(context);
}

}  // namespace tessera
