#include "common/transport/exchange_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/wire/expert_wire.h"

namespace tessera {
namespace {

constexpr uint64_t kControlToken = 0;

uint64_t TokenOf(uint16_t index, uint16_t generation) {
  return uint64_t{1} << 32 | uint64_t{generation} << 16 | index;
}

}  // namespace

ExchangeClient::ExchangeClient(const ExchangeConfig& config, const Clock& clock,
                               std::unique_ptr<Transport> transport)
    : config_(config),
      clock_(clock),
      progress_(std::move(transport), clock, config.progress),
      timer_due_(clock.Elapsed()) {
  progress_.Start({[this](TransportEvent& event) { OnEvent(event); },
                   [this](absl::Duration now) { return OnTimer(now); },
                   [this](void* memory) { OnRelease(memory); }});
}

ExchangeClient::~ExchangeClient() {
  progress_.Stop();
  events_.clear();
  absl::MutexLock lock(&progress_.mutex());
  for (const auto& [link, peer] : peers_) progress_.transport().Close(link, /*flush=*/false);
}

absl::StatusOr<PeerId> ExchangeClient::Connect(const std::string& address, const wire::Hello& hello,
                                               absl::Duration timeout) {
  TESSERA_RETURN_IF_ERROR(wire::CheckGeometry(hello.geometry));
  absl::MutexLock lock(&progress_.mutex());
  TESSERA_ASSIGN_OR_RETURN(const LinkId link, progress_.transport().Open(address));
  auto owned = std::make_unique<Peer>();
  Peer* peer = owned.get();
  peer->link = link;
  peer->hello = hello;
  peers_[link] = std::move(owned);
  auto frame = std::make_shared<ControlFrame>();
  SendControl(link, frame, wire::WriteHello(hello, /*answer=*/false, frame->bytes));
  progress_.RunUntil([peer] { return peer->answer.has_value() || !peer->refused.ok(); }, timeout);
  absl::Status status = peer->refused;
  if (status.ok() && !peer->answer) {
    status = absl::DeadlineExceededError(absl::StrCat(
        address, " did not answer the greeting within ", absl::FormatDuration(timeout)));
  }
  peer->connecting = false;
  if (status.ok()) return link;
  progress_.transport().Close(link, /*flush=*/false);
  peers_.erase(link);
  return Annotate(status, address);
}

void ExchangeClient::Disconnect(PeerId id) {
  absl::MutexLock lock(&progress_.mutex());
  const auto it = peers_.find(id);
  if (it == peers_.end() || !it->second->answer) return;
  for (const Slot& slot : it->second->slots) calls_.erase(slot.call);
  progress_.transport().Close(id, /*flush=*/true);
  peers_.erase(it);
}

absl::StatusOr<wire::Hello> ExchangeClient::GreetingOf(PeerId id) const {
  absl::MutexLock lock(&progress_.mutex());
  const auto it = peers_.find(id);
  if (it == peers_.end() || !it->second->answer) {
    return absl::NotFoundError("the peer is not connected");
  }
  return *it->second->answer;
}

std::string ExchangeClient::Describe(PeerId id) const {
  absl::MutexLock lock(&progress_.mutex());
  return peers_.contains(id) ? progress_.transport().Describe(id) : std::string();
}

bool ExchangeClient::SlotUsable(const Slot& slot, absl::Duration now) const {
  if (slot.sending) return false;
  return slot.state == Slot::State::kFree ||
         (slot.state == Slot::State::kAbandoned && now >= slot.free_at);
}

absl::StatusOr<CallSlot> ExchangeClient::Acquire(PeerId id) {
  absl::MutexLock lock(&progress_.mutex());
  const auto it = peers_.find(id);
  if (it == peers_.end() || !it->second->answer) {
    return absl::UnavailableError("the peer is not connected");
  }
  Peer& peer = *it->second;
  if (peer.draining) return absl::UnavailableError("the peer is draining");
  const absl::Duration now = clock_.Elapsed();
  for (uint16_t i = 0; i < peer.credits; ++i) {
    Slot& slot = peer.slots[i];
    if (!SlotUsable(slot, now)) continue;
    slot.state = Slot::State::kWriting;
    slot.call = CallId{0};
    ++slot.generation;
    return CallSlot{id, i, peer.frames.frame(i), peer.frames.memory()};
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("all ", peer.credits, " credits of the peer are in use"));
}

void ExchangeClient::Return(const CallSlot& slot) {
  absl::MutexLock lock(&progress_.mutex());
  const auto it = peers_.find(slot.peer);
  if (it == peers_.end()) return;
  Slot& mine = it->second->slots[slot.index];
  TESSERA_CHECK(mine.state == Slot::State::kWriting);
  mine.state = Slot::State::kFree;
  --mine.generation;  // nothing was sent under it
}

absl::StatusOr<CallId> ExchangeClient::Post(const CallSlot& slot, const wire::FrameHeader& header) {
  absl::MutexLock lock(&progress_.mutex());
  const auto it = peers_.find(slot.peer);
  if (it == peers_.end()) return absl::UnavailableError("the peer is gone");
  Peer& peer = *it->second;
  Slot& mine = peer.slots[slot.index];
  TESSERA_CHECK(mine.state == Slot::State::kWriting);
  const CallId call{next_call_++};
  wire::FrameHeader sealed = header;
  sealed.session = peer.hello.session;
  sealed.call_id = static_cast<uint64_t>(call);
  sealed.slot = slot.index;
  sealed.generation = mine.generation;
  const auto frame = wire::SealFrame(sealed, peer.answer->checksum_payload, slot.frame);
  mine.state = Slot::State::kInFlight;
  mine.call = call;
  mine.rows = header.rows;
  mine.reply_rows = peer.hello.geometry.strict ? header.pairs : header.rows;
  calls_[call] = {slot.peer, slot.index};
  ++stats_.frames_sent;
  stats_.bytes_sent += frame.size();
  mine.sending = !progress_.transport().Send(peer.link, frame, peer.frames.memory(),
                                             TokenOf(slot.index, mine.generation));
  HurryTimer(clock_.Elapsed() + config_.ping_interval);
  return call;
}

void ExchangeClient::Abandon(CallId call) {
  absl::MutexLock lock(&progress_.mutex());
  const auto it = calls_.find(call);
  if (it == calls_.end()) return;
  Slot& slot = peers_.at(it->second.first)->slots[it->second.second];
  slot.state = Slot::State::kAbandoned;
  slot.free_at = clock_.Elapsed() + config_.abandon_grace;
  calls_.erase(it);
}

size_t ExchangeClient::Wait(absl::Duration timeout, std::vector<ExchangeEvent>& events) {
  absl::MutexLock lock(&progress_.mutex());
  progress_.RunUntil([this] { return !events_.empty() || interrupted_; }, timeout);
  interrupted_ = false;
  const size_t count = events_.size();
  std::move(events_.begin(), events_.end(), std::back_inserter(events));
  events_.clear();
  return count;
}

void ExchangeClient::Interrupt() {
  absl::MutexLock lock(&progress_.mutex());
  interrupted_ = true;
  progress_.WakeAll();
}

PeerLoad ExchangeClient::LoadOf(PeerId id) const {
  absl::MutexLock lock(&progress_.mutex());
  return LoadNow(id, clock_.Elapsed());
}

void ExchangeClient::LoadsOf(std::span<const PeerId> peers, std::span<PeerLoad> loads) const {
  TESSERA_CHECK(peers.size() == loads.size());
  absl::MutexLock lock(&progress_.mutex());
  const absl::Duration now = clock_.Elapsed();
  for (size_t i = 0; i < peers.size(); ++i) loads[i] = LoadNow(peers[i], now);
}

PeerLoad ExchangeClient::LoadNow(PeerId id, absl::Duration now) const {
  const auto it = peers_.find(id);
  PeerLoad load;
  if (it == peers_.end() || !it->second->answer) return load;
  const Peer& peer = *it->second;
  // A shard that looks busy is asked less; nothing else would ever tell that it no longer is.
  if (now - peer.rows_queued_at < config_.queue_memory) load.rows_queued = peer.rows_queued;
  for (uint32_t i = 0; i < peer.slots.size(); ++i) {
    const Slot& slot = peer.slots[i];
    if (slot.state == Slot::State::kInFlight) {
      ++load.calls;
      load.rows += slot.rows;
    } else if (!peer.draining && i < peer.credits) {
      load.slots_free += SlotUsable(slot, now);
    }
  }
  return load;
}

ExchangeStats ExchangeClient::Stats() const {
  absl::MutexLock lock(&progress_.mutex());
  return stats_;
}

void ExchangeClient::OnEvent(TransportEvent& event) {
  switch (event.kind) {
    case TransportEvent::Kind::kAccepted:  // nobody was invited
      progress_.transport().Close(event.link, /*flush=*/false);
      return;
    case TransportEvent::Kind::kSent:
      OnSent(event.link, event.token);
      return;
    case TransportEvent::Kind::kDown:
      Lose(event.link, event.status);
      return;
    case TransportEvent::Kind::kFrame:
      if (const auto it = peers_.find(event.link); it != peers_.end()) {
        OnFrame(*it->second, event);
      } else {
        const auto header = wire::ReadHeader(event.frame);
        stats_.late_drops += header.ok() && header->type != wire::FrameType::kPing;
        progress_.transport().Release(event.memory);
      }
  }
}

void ExchangeClient::OnSent(LinkId link, uint64_t token) {
  const auto it = peers_.find(link);
  if (token == kControlToken || it == peers_.end()) return;
  const auto index = static_cast<uint16_t>(token & 0xffff);
  Slot& slot = it->second->slots[index];
  if (TokenOf(index, slot.generation) == token) slot.sending = false;
}

void ExchangeClient::OnRelease(void* memory) {
  const auto it = held_.find(memory);
  if (it == held_.end()) return;
  const auto [id, index] = it->second;
  held_.erase(it);
  if (const auto peer = peers_.find(id); peer != peers_.end()) {
    peer->second->slots[index].state = Slot::State::kFree;
  }
}

void ExchangeClient::OnFrame(Peer& peer, TransportEvent& event) {
  ++stats_.frames_received;
  stats_.bytes_received += event.frame.size();
  peer.heard_at = clock_.Elapsed();
  peer.pinged_at.reset();
  const LinkId link = peer.link;
  const auto header = wire::ReadHeader(event.frame);
  if (!header.ok()) {
    progress_.transport().Release(event.memory);
    Lose(link, header.status());
    return;
  }
  bool passed_on = false;
  if (!peer.answer) {
    OnHello(peer, *header, event.frame);
  } else if (header->session != peer.hello.session) {
    ++stats_.late_drops;
  } else {
    switch (header->type) {
      case wire::FrameType::kReply:
      case wire::FrameType::kNack:
      case wire::FrameType::kCredit:
        passed_on = OnAnswer(peer, *header, event);
        break;
      case wire::FrameType::kDrain:
        if (!std::exchange(peer.draining, true)) {
          events_.push_back({ExchangeEvent::Kind::kPeerDraining, link, {}, {}, {}, {}});
        }
        break;
      case wire::FrameType::kPing:
        break;  // heard_at is all there is to it
      case wire::FrameType::kCall:
      case wire::FrameType::kHello:
        Lose(link, absl::DataLossError("the shard sent a frame only routers send"));
    }
  }
  if (!passed_on) progress_.transport().Release(event.memory);
}

void ExchangeClient::OnHello(Peer& peer, const wire::FrameHeader& header,
                             std::span<const std::byte> frame) {
  if (header.type == wire::FrameType::kNack) {
    peer.refused = absl::PermissionDeniedError("the shard refused the greeting");
    return;
  }
  const absl::Status sound = wire::CheckPayload(header, frame);
  const auto answer = wire::ReadHello(header, frame);
  if (!sound.ok() || !answer.ok()) {
    peer.refused = sound.ok() ? answer.status() : sound;
    return;
  }
  peer.refused = wire::CompareHello(peer.hello, *answer);
  if (peer.refused.ok() && !wire::SameToken(peer.hello.token, answer->token)) {
    peer.refused = absl::FailedPreconditionError("the shard answered with another token");
  }
  if (!peer.refused.ok()) return;
  auto frames = FramePool::Allocate(answer->credits, wire::CallBytesMax(peer.hello.geometry));
  if (!frames.ok()) {
    peer.refused = frames.status();
    return;
  }
  peer.frames = *std::move(frames);
  peer.slots.resize(answer->credits);
  peer.credits = answer->credits;
  peer.answer = *answer;
  HurryTimer(peer.heard_at + config_.idle_ping_interval);
}

ExchangeClient::Slot* ExchangeClient::FindCall(Peer& peer, const wire::FrameHeader& header) {
  if (header.slot >= peer.slots.size()) return nullptr;
  Slot& slot = peer.slots[header.slot];
  const bool mine =
      (slot.state == Slot::State::kInFlight || slot.state == Slot::State::kAbandoned) &&
      slot.generation == header.generation && slot.call == CallId{header.call_id};
  return mine ? &slot : nullptr;
}

bool ExchangeClient::OnAnswer(Peer& peer, const wire::FrameHeader& header, TransportEvent& event) {
  const PeerId id = peer.link;
  const absl::Status sound = wire::CheckPayload(header, event.frame);
  if (!sound.ok()) {
    ++stats_.corrupt_payloads;
    if (Slot* slot = FindCall(peer, header)) {
      const bool wanted = slot->state == Slot::State::kInFlight;
      slot->state = Slot::State::kFree;
      slot->sending = false;
      if (wanted) Fail(id, slot->call, sound);
    }
    return false;
  }
  auto reply = wire::ReadReply(peer.hello.geometry, header, event.frame);
  if (!reply.ok()) {
    Lose(id, reply.status());
    return false;
  }
  peer.rows_queued = reply->trailer.rows_queued;
  peer.rows_queued_at = clock_.Elapsed();
  if (reply->trailer.credits > 0) {
    peer.credits =
        std::min<uint32_t>(reply->trailer.credits, static_cast<uint32_t>(peer.slots.size()));
  }
  if (header.type == wire::FrameType::kCredit) return false;
  Slot* slot = FindCall(peer, header);
  if (slot == nullptr || slot->state == Slot::State::kAbandoned) {
    if (slot != nullptr) {
      slot->state = Slot::State::kFree;
      slot->sending = false;
    }
    ++stats_.late_drops;
    return false;
  }
  if (header.type == wire::FrameType::kReply && header.rows != slot->reply_rows) {
    Lose(id, absl::DataLossError(absl::StrCat("an answer has ", header.rows,
                                              " rows, its call asks ", slot->reply_rows)));
    return false;
  }
  const bool is_nack = header.type == wire::FrameType::kNack;
  slot->state = is_nack ? Slot::State::kFree : Slot::State::kAnswered;
  slot->sending = false;  // answered, so its bytes have been read
  calls_.erase(slot->call);
  if (!is_nack) held_[event.memory] = {id, header.slot};
  events_.push_back({is_nack ? ExchangeEvent::Kind::kNack : ExchangeEvent::Kind::kReply, id,
                     slot->call, absl::OkStatus(), *reply,
                     is_nack ? HeldFrame() : HeldFrame(&progress_, event.memory)});
  return !is_nack;
}

void ExchangeClient::Fail(PeerId peer, CallId call, absl::Status status) {
  calls_.erase(call);
  events_.push_back({ExchangeEvent::Kind::kFailed, peer, call, std::move(status), {}, {}});
}

void ExchangeClient::Lose(LinkId link, const absl::Status& status) {
  const auto it = peers_.find(link);
  if (it == peers_.end()) return;
  Peer& peer = *it->second;
  const absl::Status gone = absl::UnavailableError(status.message());
  if (peer.connecting) {
    if (peer.refused.ok()) peer.refused = gone;  // perhaps right behind its answer
    return;
  }
  for (const Slot& slot : peer.slots) {
    if (slot.state == Slot::State::kInFlight) Fail(link, slot.call, gone);
  }
  ++stats_.peers_lost;
  stats_.peers_cut_off += status.code() == absl::StatusCode::kDataLoss;
  events_.push_back({ExchangeEvent::Kind::kPeerDown, link, {}, gone, {}, {}});
  peers_.erase(it);
  progress_.transport().Close(link, /*flush=*/false);
}

void ExchangeClient::SendControl(LinkId link, std::shared_ptr<ControlFrame> frame,
                                 std::span<const std::byte> bytes) {
  ++stats_.frames_sent;
  stats_.bytes_sent += bytes.size();
  progress_.transport().Send(link, bytes, std::move(frame), kControlToken);
}

void ExchangeClient::SendPing(Peer& peer, absl::Duration now) {
  wire::FrameHeader ping;
  ping.type = wire::FrameType::kPing;
  ping.session = peer.hello.session;
  auto frame = std::make_shared<ControlFrame>();
  SendControl(peer.link, frame, wire::SealFrame(ping, false, frame->bytes));
  ++stats_.pings_sent;
  peer.asked_at = now;
  if (!peer.pinged_at) peer.pinged_at = now;
}

absl::Duration ExchangeClient::PingInterval(const Peer& peer) const {
  const bool busy = std::any_of(peer.slots.begin(), peer.slots.end(), [](const Slot& slot) {
    return slot.state == Slot::State::kInFlight || slot.state == Slot::State::kAbandoned;
  });
  return busy || peer.pinged_at ? config_.ping_interval : config_.idle_ping_interval;
}

void ExchangeClient::HurryTimer(absl::Duration when) {
  timer_due_ = std::min(timer_due_, when);
  progress_.HurryTimer(when);
}

absl::Duration ExchangeClient::OnTimer(absl::Duration now) {
  // If this process itself stood still, silence says nothing about the peers.
  const bool was_away = now - timer_due_ > config_.peer_timeout / 2;
  timer_due_ = now + config_.idle_ping_interval;
  std::vector<LinkId> hanging;
  for (auto& [link, peer] : peers_) {
    if (!peer->answer) continue;
    if (was_away && peer->pinged_at) peer->pinged_at = now;
    if (peer->pinged_at && now - *peer->pinged_at >= config_.peer_timeout) {
      hanging.push_back(link);
      continue;
    }
    if (now - std::max(peer->heard_at, peer->asked_at) >= PingInterval(*peer)) SendPing(*peer, now);
    timer_due_ =
        std::min(timer_due_, std::max(peer->heard_at, peer->asked_at) + PingInterval(*peer));
    if (peer->pinged_at) timer_due_ = std::min(timer_due_, *peer->pinged_at + config_.peer_timeout);
  }
  for (const LinkId link : hanging) {
    Lose(link, absl::UnavailableError(absl::StrCat("no sign of life for ",
                                                   absl::FormatDuration(config_.peer_timeout))));
  }
  return timer_due_;
}

}  // namespace tessera
