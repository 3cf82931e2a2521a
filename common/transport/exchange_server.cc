#include "common/transport/exchange_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera {
namespace {

constexpr uint64_t kControlToken = 0;
constexpr uint64_t kReplyToken = 1;
// Small frames a peer may leave unread.
constexpr size_t kControlPendingMax = 1024;
// How long a declined peer may take to read so, and how many may do so at a time.
constexpr absl::Duration kDeclinedMax = absl::Milliseconds(500);
constexpr size_t kDeclinedCountMax = 16;

// Generations rise by one and wrap: the newer of two is the one less than half a turn ahead.
bool IsNewer(uint16_t generation, uint16_t than) {
  return static_cast<int16_t>(static_cast<uint16_t>(generation - than)) > 0;
}

}  // namespace

ExchangeServer::ExchangeServer(const ExchangeConfig& config, const Clock& clock,
                               std::unique_ptr<Transport> transport, GreetingCheck check)
    : config_(config),
      clock_(clock),
      check_(std::move(check)),
      progress_(std::move(transport), clock, config.progress) {
  progress_.Start({[this](TransportEvent& event) { OnEvent(event); },
                   [this](absl::Duration now) { return OnTimer(now); }});
}

ExchangeServer::~ExchangeServer() { Shut(); }

void ExchangeServer::Shut() {
  progress_.Stop();
  calls_.clear();
  absl::MutexLock lock(&progress_.mutex());
  for (const auto& [link, peer] : peers_) progress_.transport().Close(link, /*flush=*/true);
  for (const auto& [link, until] : declined_) progress_.transport().Close(link, /*flush=*/true);
  peers_.clear();
  declined_.clear();
}

absl::StatusOr<std::string> ExchangeServer::Listen(const std::string& address) {
  absl::MutexLock lock(&progress_.mutex());
  return progress_.transport().Listen(address);
}

size_t ExchangeServer::Wait(absl::Duration timeout, std::vector<IncomingCall>& calls) {
  absl::MutexLock lock(&progress_.mutex());
  progress_.RunUntil([this] { return !calls_.empty() || interrupted_; }, timeout);
  interrupted_ = false;
  const size_t count = calls_.size();
  std::move(calls_.begin(), calls_.end(), std::back_inserter(calls));
  calls_.clear();
  return count;
}

void ExchangeServer::Interrupt() {
  absl::MutexLock lock(&progress_.mutex());
  interrupted_ = true;
  progress_.WakeAll();
}

ExchangeServer::Slot* ExchangeServer::SlotOf(const IncomingCall& call, Peer** peer) {
  const auto it = peers_.find(call.peer);
  if (it == peers_.end()) return nullptr;
  *peer = it->second.get();
  return &it->second->slots[call.call.header.slot];
}

void ExchangeServer::Reply(IncomingCall call, const wire::ReplyTrailer& trailer) {
  Peer* peer = nullptr;
  absl::MutexLock lock(&progress_.mutex());
  --calls_open_;
  // Before the answer: the router may write into the call's memory once it has that.
  call.memory.ReleaseLocked();
  Slot* slot = SlotOf(call, &peer);
  if (slot == nullptr) return;
  wire::ReplyTrailer full = trailer;
  full.reason = wire::NackReason::kNone;
  full.credits = static_cast<uint32_t>(peer->slots.size());
  full.incarnation = peer->answer.incarnation;
  const wire::FrameHeader header =
      wire::WriteReply(call.geometry, wire::FrameType::kReply, call.call.header,
                       call.call.reply_rows(), full, call.reply_frame);
  const auto frame = wire::SealFrame(header, peer->answer.checksum_payload, call.reply_frame);
  slot->busy = false;
  // The reply's memory may be written again as soon as the router uses the slot again, sent or
  // not: a router does that after it has the reply, or when it no longer wants it.
  progress_.transport().Send(peer->link, frame, call.reply_memory, kReplyToken);
  peer->last_finished = call.call.header.call_id;
  ++stats_.frames_sent;
  stats_.bytes_sent += frame.size();
}

void ExchangeServer::Nack(IncomingCall call, wire::NackReason reason, Epoch epoch) {
  Peer* peer = nullptr;
  absl::MutexLock lock(&progress_.mutex());
  --calls_open_;
  call.memory.ReleaseLocked();
  Slot* slot = SlotOf(call, &peer);
  if (slot == nullptr) return;
  slot->busy = false;
  SendNack(*peer, call.call.header, reason, epoch);
}

void ExchangeServer::Drain() {
  absl::MutexLock lock(&progress_.mutex());
  if (std::exchange(draining_, true)) return;
  std::vector<LinkId> greeted;
  for (const auto& [link, peer] : peers_) {
    if (peer->hello) greeted.push_back(link);
  }
  for (const LinkId link : greeted) SendSimple(*peers_.at(link), wire::FrameType::kDrain, 0, 0);
}

void ExchangeServer::CutOff(PeerId peer, const absl::Status& why) {
  absl::MutexLock lock(&progress_.mutex());
  stats_.peers_cut_off += peers_.contains(peer);
  Lose(peer, why);
}

size_t ExchangeServer::peer_count() const {
  absl::MutexLock lock(&progress_.mutex());
  return peers_.size();
}
size_t ExchangeServer::calls_open() const {
  absl::MutexLock lock(&progress_.mutex());
  return calls_open_;
}
ExchangeStats ExchangeServer::Stats() const {
  absl::MutexLock lock(&progress_.mutex());
  return stats_;
}

void ExchangeServer::OnEvent(TransportEvent& event) {
  switch (event.kind) {
    case TransportEvent::Kind::kAccepted: {
      if (peers_.size() >= config_.peers_max) {
        ++stats_.peers_cut_off;
        TESSERA_LOG(WARNING) << "a connection over the limit of " << config_.peers_max
                             << " is cut off";
        progress_.transport().Close(event.link, /*flush=*/false);
        return;
      }
      auto peer = std::make_unique<Peer>();
      peer->link = event.link;
      peer->heard_at = clock_.Elapsed();
      peers_[event.link] = std::move(peer);
      return;
    }
    case TransportEvent::Kind::kSent:
      if (const auto it = peers_.find(event.link);
          it != peers_.end() && event.token == kControlToken) {
        --it->second->control_pending;
      }
      return;
    case TransportEvent::Kind::kDown:
      stats_.peers_lost += peers_.contains(event.link);
      Lose(event.link, event.status);
      return;
    case TransportEvent::Kind::kFrame:
      const auto it = peers_.find(event.link);
      if (it == peers_.end() || !OnFrame(*it->second, event)) {
        progress_.transport().Release(event.memory);
      }
  }
}

bool ExchangeServer::OnFrame(Peer& peer, TransportEvent& event) {
  ++stats_.frames_received;
  stats_.bytes_received += event.frame.size();
  peer.heard_at = clock_.Elapsed();
  const auto header = wire::ReadHeader(event.frame);
  if (!header.ok()) {
    Refuse(peer, header.status());
    return false;
  }
  if (!peer.hello) {
    OnHello(peer, *header, event.frame);
    return false;
  }
  if (header->session != peer.hello->session) {
    Refuse(peer,
           absl::DataLossError(absl::StrCat("a frame of session ", header->session,
                                            " on a connection of session ", peer.hello->session)));
    return false;
  }
  switch (header->type) {
    case wire::FrameType::kCall:
      return OnCall(peer, *header, event);
    case wire::FrameType::kPing:
      if (!header->has(wire::kAnswer)) {
        SendSimple(peer, wire::FrameType::kPing, wire::kAnswer, peer.last_finished);
      }
      return false;
    default:
      Refuse(peer, absl::DataLossError(absl::StrCat("a router sent a frame of type ",
                                                    static_cast<int>(header->type))));
      return false;
  }
}

void ExchangeServer::OnHello(Peer& peer, const wire::FrameHeader& header,
                             std::span<const std::byte> frame) {
  if (const absl::Status sound = wire::CheckPayload(header, frame); !sound.ok()) {
    return Refuse(peer, sound);
  }
  const auto theirs = wire::ReadHello(header, frame);
  if (!theirs.ok()) return Refuse(peer, theirs.status());
  auto answer = check_(*theirs);
  if (!answer.ok()) return Decline(peer, answer.status());
  TESSERA_CHECK(answer->credits >= 1 && answer->credits <= wire::kCreditsMax);
  auto replies = FramePool::Allocate(answer->credits, wire::ReplyBytesMax(theirs->geometry));
  if (!replies.ok()) return Refuse(peer, replies.status());
  peer.replies = *std::move(replies);
  peer.hello = *theirs;
  peer.answer = *answer;
  peer.answer.session = theirs->session;
  peer.answer.token = theirs->token;
  peer.slots.resize(answer->credits);
  auto out = std::make_shared<ControlFrame>();
  const auto bytes = wire::WriteHello(peer.answer, /*answer=*/true, out->bytes);
  if (SendControl(peer, std::move(out), bytes) && draining_) {
    SendSimple(peer, wire::FrameType::kDrain, 0, 0);
  }
}

bool ExchangeServer::OnCall(Peer& peer, const wire::FrameHeader& header, TransportEvent& event) {
  if (header.slot >= peer.slots.size()) {
    Refuse(peer, absl::DataLossError(absl::StrCat("a call in slot ", header.slot, " of ",
                                                  peer.slots.size(), " granted")));
    return false;
  }
  Slot& slot = peer.slots[header.slot];
  if (slot.used && !IsNewer(header.generation, slot.generation)) {
    ++stats_.duplicate_drops;
    return false;
  }
  if (!wire::CheckPayload(header, event.frame).ok()) {
    ++stats_.corrupt_payloads;
    SendNack(peer, header, wire::NackReason::kCorrupt, Epoch{});
    return false;
  }
  auto call = wire::ReadCall(peer.hello->geometry, header, event.frame);
  if (!call.ok()) {
    Refuse(peer, call.status());
    return false;
  }
  if (draining_ || slot.busy) {
    SendNack(peer, header, draining_ ? wire::NackReason::kDraining : wire::NackReason::kOverloaded,
             Epoch{});
    return false;
  }
  slot.used = true;
  slot.busy = true;
  slot.generation = header.generation;
  ++calls_open_;
  calls_.push_back({peer.link, *call, clock_.Elapsed(), peer.hello->geometry,
                    peer.replies.frame(header.slot), peer.replies.memory(),
                    HeldFrame(&progress_, event.memory)});
  return true;
}

void ExchangeServer::SendNack(Peer& peer, const wire::FrameHeader& call, wire::NackReason reason,
                              Epoch epoch) {
  wire::ReplyTrailer trailer;
  trailer.reason = reason;
  trailer.epoch = static_cast<uint64_t>(epoch);
  trailer.incarnation = peer.answer.incarnation;
  trailer.credits = static_cast<uint32_t>(peer.slots.size());
  // Before the greeting there is no geometry; a NACK has no rows, so any will do.
  const wire::FrameGeometry geometry = peer.hello ? peer.hello->geometry : wire::FrameGeometry{};
  auto frame = std::make_shared<ControlFrame>();
  const wire::FrameHeader header =
      wire::WriteReply(geometry, wire::FrameType::kNack, call, 0, trailer, frame->bytes);
  ++stats_.nacks_sent;
  const auto bytes = wire::SealFrame(header, /*checksum_payload=*/true, frame->bytes);
  SendControl(peer, std::move(frame), bytes);
}

void ExchangeServer::SendSimple(Peer& peer, wire::FrameType type, uint16_t flags,
                                uint64_t call_id) {
  wire::FrameHeader header;
  header.type = type;
  header.flags = flags;
  header.session = peer.hello->session;
  header.call_id = call_id;
  auto frame = std::make_shared<ControlFrame>();
  const auto bytes = wire::SealFrame(header, /*checksum_payload=*/false, frame->bytes);
  SendControl(peer, std::move(frame), bytes);
}

bool ExchangeServer::SendControl(Peer& peer, std::shared_ptr<ControlFrame> frame,
                                 std::span<const std::byte> bytes) {
  if (peer.control_pending >= kControlPendingMax) {
    ++stats_.peers_cut_off;
    Lose(peer.link, absl::ResourceExhaustedError("the router asks and does not read the answers"));
    return false;
  }
  ++stats_.frames_sent;
  stats_.bytes_sent += bytes.size();
  const bool done = progress_.transport().Send(peer.link, bytes, std::move(frame), kControlToken);
  peer.control_pending += !done;
  return true;
}

void ExchangeServer::Refuse(Peer& peer, const absl::Status& why) {
  ++stats_.peers_cut_off;
  const LinkId link = peer.link;
  TESSERA_LOG(WARNING) << "a router is cut off: " << why.message();
  if (!peer.hello) SendNack(peer, {}, wire::NackReason::kRefused, Epoch{});
  peers_.erase(link);
  progress_.transport().Close(link, /*flush=*/true);
}

void ExchangeServer::Decline(Peer& peer, const absl::Status& why) {
  if (declined_.size() >= kDeclinedCountMax) return Refuse(peer, why);
  ++stats_.peers_cut_off;
  const LinkId link = peer.link;
  TESSERA_LOG(WARNING) << "a router is refused: " << why.message();
  SendNack(peer, {}, wire::NackReason::kRefused, Epoch{});
  peers_.erase(link);
  declined_[link] = clock_.Elapsed() + kDeclinedMax;
}

void ExchangeServer::Lose(LinkId link, const absl::Status& why) {
  const auto it = peers_.find(link);
  if (it != peers_.end()) {
    if (it->second->hello) {
      TESSERA_LOG(INFO) << "router of session " << it->second->hello->session
                        << " is gone: " << why.message();
    }
    peers_.erase(it);
  }
  declined_.erase(link);
  progress_.transport().Close(link, /*flush=*/false);
}

absl::Duration ExchangeServer::OnTimer(absl::Duration now) {
  absl::Duration next = now + config_.greeting_timeout / 4;
  std::vector<std::pair<LinkId, absl::Status>> silent;
  for (const auto& [link, peer] : peers_) {
    const absl::Duration limit = peer->hello ? config_.silence_max : config_.greeting_timeout;
    if (now - peer->heard_at < limit) {
      next = std::min(next, peer->heard_at + limit);
      continue;
    }
    silent.emplace_back(link, absl::DeadlineExceededError(
                                  absl::StrCat(peer->hello ? "silent for " : "no greeting within ",
                                               absl::FormatDuration(limit))));
  }
  for (const auto& [link, why] : silent) {
    ++stats_.peers_lost;
    Lose(link, why);
  }
  absl::erase_if(declined_, [&](const auto& declined) {
    if (now < declined.second) return false;
    progress_.transport().Close(declined.first, /*flush=*/true);
    return true;
  });
  return next;
}

}  // namespace tessera
