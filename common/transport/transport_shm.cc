#include "common/transport/transport_shm.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/entropy.h"
#include "common/base/owned_fd.h"
#include "common/base/status.h"
#include "common/transport/shared_link.h"

namespace tessera {
namespace {

constexpr size_t kFrameBytesMax = size_t{1} << 28;
// Connected, but nothing offered yet; more are turned away.
constexpr size_t kHalfOpenMax = 64;
// Slots read of a link at a time, so that one that floods holds up no other.
constexpr int kReadsPerPoll = 64;
// Slots of a link that may be kept; what comes beyond is copied, so that half of them always go
// round.
constexpr int kLentMax = kSlotCount / 2;
// A caller that never sleeps looks for who came or went every so many polls.
constexpr uint32_t kPollsPerLook = 4096;

// What a descriptor of the epoll set tells of.
enum class Watched : uint32_t { kBell, kSocket };

class ShmTransport final : public Transport {
 public:
  ShmTransport() = default;

  absl::Status Init();

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
  std::string Describe(LinkId link) override;

 private:
  // A frame that found no free slot, or not for all of it.
  struct PendingSend {
    std::span<const std::byte> rest;
    uint32_t total;
    uint64_t token;
    std::shared_ptr<const void> memory;
  };
  struct Link {
    std::unique_ptr<SharedLink> shared;
    std::deque<PendingSend> pending;
    // A frame that arrives in pieces.
    std::unique_ptr<uint64_t[]> pieces;
    size_t pieces_bytes = 0;
    uint32_t pieces_total = 0;
    int lent = 0;         // slots that somebody has
    bool down = false;    // said so, or to be said
    bool closed = false;  // by our side; kept until flushed and nothing is lent. What still comes
                          // is thrown away: the peer may have to be rid of it before it reads
  };
  // A frame that somebody has.
  struct Lent {
    LinkId link{};
    uint32_t slot = 0;
    std::unique_ptr<uint64_t[]> copy;  // if set it is this, and the slot is given back
  };

  absl::Status Watch(Watched kind, int descriptor);
  void Unwatch(int descriptor);
  LinkId AddLink(std::unique_ptr<SharedLink> shared);
  void LookAtSockets();
  void GoDown(LinkId id, Link& link, absl::Status status);
  // False: no slot is free.
  bool WriteOn(Link& link, PendingSend& send);
  void SendPending(LinkId id, Link& link);
  void ReadFrames(LinkId id, Link& link);
  void OnPayload(LinkId id, Link& link, const SlotReader::Payload& payload);
  void OnPiece(LinkId id, Link& link, const SlotReader::Payload& payload);
  void Free(Link& link, uint32_t slot);
  void Deliver(LinkId id, std::span<const std::byte> frame, Lent lent);
  void ForgetClosed();

  OwnedFd epoll_;  // bells, sockets, the listener, wake_
  OwnedFd wake_;
  OwnedFd listener_;
  OwnedFd spare_ = OpenSpare();              // a descriptor to be had when there are no more
  std::atomic<bool> sockets_ready_ = false;  // a sleeper saw that somebody came or went
  uint32_t polls_ = 0;
  uint64_t next_link_ = 1;
  std::vector<OwnedFd> half_open_;
  std::map<LinkId, Link> links_;
  absl::flat_hash_map<void*, Lent> lent_;
  std::vector<TransportEvent> events_;  // until the next Poll
  bool any_closed_ = false;
};

absl::Status ShmTransport::Init() {
  epoll_ = OwnedFd(epoll_create1(EPOLL_CLOEXEC));
  wake_ = OwnedFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  return Watch(Watched::kBell, wake_.get());
}

absl::Status ShmTransport::Watch(Watched kind, int descriptor) {
  epoll_event interest{};
  // A bell tells of each ring once, so nobody has to read it, and none is missed.
  interest.events = EPOLLIN | (kind == Watched::kBell ? EPOLLET : 0u);
  interest.data.u32 = static_cast<uint32_t>(kind);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &interest) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot wait for shared memory: ", std::strerror(errno)));
}

void ShmTransport::Unwatch(int descriptor) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr);
}

absl::StatusOr<std::string> ShmTransport::Listen(const std::string& address) {
  if (listener_.valid()) return absl::FailedPreconditionError("already listens");
  const std::string name =
      address.empty() ? absl::StrFormat("tessera-%016x", FreshNumber()) : address;
  TESSERA_ASSIGN_OR_RETURN(listener_, ListenUnix(name));
  TESSERA_RETURN_IF_ERROR(Watch(Watched::kSocket, listener_.get()));
  return name;
}

absl::StatusOr<LinkId> ShmTransport::Open(const std::string& address) {
  TESSERA_ASSIGN_OR_RETURN(OwnedFd socket, ConnectUnix(address));
  TESSERA_ASSIGN_OR_RETURN(auto shared, SharedLink::Offer(std::move(socket)));
  return AddLink(std::move(shared));
}

LinkId ShmTransport::AddLink(std::unique_ptr<SharedLink> shared) {
  const LinkId id{next_link_++};
  Link& link = links_[id];
  link.shared = std::move(shared);
  for (const auto& [kind, descriptor] : {std::pair(Watched::kBell, link.shared->bell()),
                                         std::pair(Watched::kSocket, link.shared->socket())}) {
    if (const absl::Status watched = Watch(kind, descriptor); !watched.ok()) {
      GoDown(id, link, watched);
      break;
    }
  }
  return id;
}

void ShmTransport::GoDown(LinkId id, Link& link, absl::Status status) {
  if (std::exchange(link.down, true)) return;
  Unwatch(link.shared->bell());
  Unwatch(link.shared->socket());
  link.shared->HangUp();
  for (PendingSend& send : link.pending) {
    TransportEvent sent;
    sent.kind = TransportEvent::Kind::kSent;
    sent.link = id;
    sent.token = send.token;
    events_.push_back(std::move(sent));
  }
  link.pending.clear();
  any_closed_ |= link.closed;
  if (link.closed) return;
  TransportEvent event;
  event.kind = TransportEvent::Kind::kDown;
  event.link = id;
  event.status = std::move(status);
  events_.push_back(std::move(event));
}

void ShmTransport::Close(LinkId id, bool flush) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  Link& link = it->second;
  link.closed = true;
  any_closed_ = true;
  if (!flush || link.pending.empty()) GoDown(id, link, absl::OkStatus());
}

void ShmTransport::ForgetClosed() {
  any_closed_ = false;
  std::erase_if(links_, [this](const auto& entry) {
    const Link& link = entry.second;
    if (!link.closed) return false;
    const bool done = link.down && link.lent == 0;
    any_closed_ |= !done;
    return done;
  });
}

bool ShmTransport::WriteOn(Link& link, PendingSend& send) {
  SlotWriter& out = link.shared->out();
  bool wrote = false;
  bool room = true;
  while (room && !send.rest.empty()) {
    const size_t bytes = std::min(send.rest.size(), kSlotBytes);
    room = out.Write(send.rest.first(bytes), send.total);
    if (!room) break;
    send.rest = send.rest.subspan(bytes);
    wrote = true;
  }
  if (wrote && out.WakesReader()) link.shared->Ring();
  return room;
}

bool ShmTransport::Send(LinkId id, std::span<const std::byte> frame,
                        std::shared_ptr<const void> memory, uint64_t token) {
  const auto it = links_.find(id);
  if (it == links_.end() || it->second.down || it->second.closed || frame.empty()) return true;
  Link& link = it->second;
  PendingSend send{frame, static_cast<uint32_t>(frame.size()), token, nullptr};
  if (link.pending.empty() && WriteOn(link, send)) return true;
  send.memory = std::move(memory);
  link.pending.push_back(std::move(send));
  return false;
}

void ShmTransport::SendPending(LinkId id, Link& link) {
  while (!link.pending.empty() && WriteOn(link, link.pending.front())) {
    TransportEvent event;
    event.kind = TransportEvent::Kind::kSent;
    event.link = id;
    event.token = link.pending.front().token;
    events_.push_back(std::move(event));
    link.pending.pop_front();
  }
  if (link.pending.empty() && link.closed) GoDown(id, link, absl::OkStatus());
}

void ShmTransport::Free(Link& link, uint32_t slot) {
  if (link.shared->in().Free(slot)) link.shared->Ring();
}

void ShmTransport::Release(void* memory) {
  const auto it = lent_.find(memory);
  if (it == lent_.end()) return;
  if (it->second.copy == nullptr) {
    Link& link = links_.at(it->second.link);
    Free(link, it->second.slot);
    --link.lent;
  }
  lent_.erase(it);
}

void ShmTransport::Deliver(LinkId id, std::span<const std::byte> frame, Lent lent) {
  TransportEvent event;
  event.kind = TransportEvent::Kind::kFrame;
  event.link = id;
  event.frame = frame;
  event.memory = const_cast<std::byte*>(frame.data());  // a key; nobody writes by it
  lent_[event.memory] = std::move(lent);
  events_.push_back(std::move(event));
}

void ShmTransport::OnPayload(LinkId id, Link& link, const SlotReader::Payload& payload) {
  if (link.closed) return Free(link, payload.slot);
  const bool whole = payload.bytes.size() == payload.total && link.pieces == nullptr;
  if (whole && link.lent < kLentMax) {
    ++link.lent;
    Deliver(id, payload.bytes, {id, payload.slot, nullptr});
    return;
  }
  OnPiece(id, link, payload);
  Free(link, payload.slot);
}

void ShmTransport::OnPiece(LinkId id, Link& link, const SlotReader::Payload& payload) {
  if (link.pieces == nullptr) {
    link.pieces_bytes = 0;
    link.pieces_total = payload.total;
    if (payload.total > kFrameBytesMax) {
      return GoDown(
          id, link,
          absl::DataLossError(absl::StrCat("a frame of ", payload.total, " bytes was announced")));
    }
    link.pieces = std::make_unique_for_overwrite<uint64_t[]>((payload.total + 7) / 8);
  }
  if (payload.total != link.pieces_total ||
      payload.bytes.size() > link.pieces_total - link.pieces_bytes) {
    return GoDown(id, link, absl::DataLossError("the pieces of a frame do not fit together"));
  }
  auto* const bytes = reinterpret_cast<std::byte*>(link.pieces.get());
  std::memcpy(bytes + link.pieces_bytes, payload.bytes.data(), payload.bytes.size());
  link.pieces_bytes += payload.bytes.size();
  if (link.pieces_bytes < link.pieces_total) return;
  Deliver(id, {bytes, link.pieces_total}, {id, 0, std::move(link.pieces)});
}

void ShmTransport::ReadFrames(LinkId id, Link& link) {
  for (int reads = 0; reads < kReadsPerPoll && !link.down; ++reads) {
    const auto payload = link.shared->in().Read();
    if (!payload) break;
    OnPayload(id, link, *payload);
  }
  if (link.shared->in().broken()) {
    GoDown(id, link, absl::DataLossError("the peer broke the rules of the queue"));
  }
}

void ShmTransport::LookAtSockets() {
  polls_ = 0;
  sockets_ready_.store(false, std::memory_order_relaxed);
  while (listener_.valid()) {
    OwnedFd socket = AcceptUnix(listener_, spare_);
    if (!socket.valid()) break;
    if (half_open_.size() >= kHalfOpenMax || !Watch(Watched::kSocket, socket.get()).ok()) continue;
    half_open_.push_back(std::move(socket));
  }
  for (OwnedFd& socket : std::exchange(half_open_, {})) {
    auto shared = SharedLink::Take(socket);
    if (!shared.ok()) continue;
    if (*shared == nullptr) {
      half_open_.push_back(std::move(socket));
      continue;
    }
    Unwatch((*shared)->socket());  // AddLink does
    TransportEvent accepted;
    accepted.kind = TransportEvent::Kind::kAccepted;
    accepted.link = AddLink(*std::move(shared));
    events_.push_back(std::move(accepted));
  }
  for (auto& [id, link] : links_) {
    if (link.down || !link.shared->PeerGone()) continue;
    ReadFrames(id, link);  // what it had sent before
    GoDown(id, link, absl::UnavailableError("the peer is gone"));
  }
}

void ShmTransport::Poll(std::vector<TransportEvent>& events) {
  if (++polls_ >= kPollsPerLook || sockets_ready_.load(std::memory_order_relaxed)) LookAtSockets();
  for (auto& [id, link] : links_) {
    if (link.down) continue;
    ReadFrames(id, link);
    if (!link.pending.empty()) SendPending(id, link);
  }
  if (any_closed_) ForgetClosed();
  std::move(events_.begin(), events_.end(), std::back_inserter(events));
  events_.clear();
}

bool ShmTransport::Arm() {
  if (!events_.empty()) return false;
  return std::all_of(links_.begin(), links_.end(), [](auto& entry) {
    Link& link = entry.second;
    return link.down || link.shared->in().PrepareSleep();
  });
}

void ShmTransport::Sleep(absl::Duration timeout) {
  const timespec limit = absl::ToTimespec(timeout);
  std::array<epoll_event, 8> ready;
  const bool forever = timeout == absl::InfiniteDuration();
  const int count = epoll_pwait2(epoll_.get(), ready.data(), static_cast<int>(ready.size()),
                                 forever ? nullptr : &limit, nullptr);
  for (int i = 0; i < count; ++i) {
    if (ready[static_cast<size_t>(i)].data.u32 == static_cast<uint32_t>(Watched::kSocket)) {
      sockets_ready_.store(true, std::memory_order_relaxed);
    }
  }
}

void ShmTransport::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t bytes = write(wake_.get(), &one, sizeof one);
}

std::string ShmTransport::Describe(LinkId link) {
  return links_.contains(link) ? "shared memory" : std::string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeShmTransport() {
  auto transport = std::make_unique<ShmTransport>();
  TESSERA_RETURN_IF_ERROR(transport->Init());
  return transport;
}

}  // namespace tessera
