#include "common/transport/transport_loopback.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/wire/expert_wire.h"

namespace tessera {

struct LoopbackNetwork::Lent {
  std::shared_ptr<const void> memory;
  std::weak_ptr<Endpoint> sender;  // to be told when the memory is given back; none for a copy
  LinkId sender_link{};
  uint64_t token = 0;
};

struct LoopbackNetwork::Item {
  TransportEvent event;
  std::unique_ptr<Lent> lent;
};

struct LoopbackNetwork::Endpoint {
  std::multimap<absl::Duration, Item> inbox;       // by arrival, then by order of sending
  std::vector<std::pair<EndpointRef, Item>> held;  // sent while hanging
  std::string listening;
  absl::CondVar changed;
  bool woken = false;
  bool hangs = false;
};

struct LoopbackNetwork::Link {
  EndpointRef mine;
  EndpointRef theirs;
  LinkId other{};
  std::string listener;
  FrameDirection direction{};  // of what is sent here
};

// One end of the network.
class LoopbackTransport final : public Transport {
 public:
  LoopbackTransport(std::shared_ptr<LoopbackNetwork> network,
                    std::shared_ptr<LoopbackNetwork::Endpoint> endpoint)
      : network_(std::move(network)), endpoint_(std::move(endpoint)) {}
  ~LoopbackTransport() override { network_->Remove(endpoint_); }

  absl::StatusOr<std::string> Listen(const std::string& address) override {
    return network_->Listen(endpoint_, address);
  }
  absl::StatusOr<LinkId> Open(const std::string& address) override {
    return network_->Open(endpoint_, address);
  }
  void Close(LinkId link, bool /*flush: frames are never lost on the way*/) override {
    absl::MutexLock lock(&network_->mutex_);
    network_->CloseLink(link);
  }
  bool Send(LinkId link, std::span<const std::byte> frame, std::shared_ptr<const void> memory,
            uint64_t token) override {
    return network_->Send(link, frame, std::move(memory), token);
  }
  void Release(void* memory) override {
    absl::MutexLock lock(&network_->mutex_);
    network_->GiveBack(
        std::unique_ptr<LoopbackNetwork::Lent>(static_cast<LoopbackNetwork::Lent*>(memory)));
  }
  void Poll(std::vector<TransportEvent>& events) override;
  bool Arm() override {
    absl::MutexLock lock(&network_->mutex_);
    return !SomethingDue();
  }
  void Sleep(absl::Duration timeout) override;
  void Wake() override {
    absl::MutexLock lock(&network_->mutex_);
    endpoint_->woken = true;
    endpoint_->changed.Signal();
  }
  std::string Describe(LinkId) override { return "loopback"; }

 private:
  bool SomethingDue() const {
    return !endpoint_->hangs && !endpoint_->inbox.empty() &&
           endpoint_->inbox.begin()->first <= network_->clock_.Elapsed();
  }

  const std::shared_ptr<LoopbackNetwork> network_;
  const std::shared_ptr<LoopbackNetwork::Endpoint> endpoint_;
};

void LoopbackTransport::Poll(std::vector<TransportEvent>& events) {
  absl::MutexLock lock(&network_->mutex_);
  while (SomethingDue()) {
    auto node = endpoint_->inbox.extract(endpoint_->inbox.begin());
    LoopbackNetwork::Item& item = node.mapped();
    if (item.event.kind == TransportEvent::Kind::kDown) network_->links_.erase(item.event.link);
    if (item.event.kind == TransportEvent::Kind::kFrame) {
      if (!network_->links_.contains(item.event.link)) {  // closed here meanwhile
        network_->GiveBack(std::move(item.lent));
        continue;
      }
      item.event.memory = item.lent.release();
    }
    events.push_back(std::move(item.event));
  }
}

void LoopbackTransport::Sleep(absl::Duration timeout) {
  absl::MutexLock lock(&network_->mutex_);
  if (!endpoint_->woken && !SomethingDue()) {
    absl::Duration nap = timeout;
    if (!endpoint_->inbox.empty() && !endpoint_->hangs) {
      nap = std::min(nap, endpoint_->inbox.begin()->first - network_->clock_.Elapsed());
    }
    endpoint_->changed.WaitWithTimeout(&network_->mutex_, nap);
  }
  endpoint_->woken = false;
}

LoopbackNetwork::LoopbackNetwork(const Clock& clock, uint64_t seed)
    : clock_(clock), faults_(seed) {}

LoopbackNetwork::~LoopbackNetwork() = default;

std::shared_ptr<LoopbackNetwork> LoopbackNetwork::Create(const Clock& clock, uint64_t seed) {
  return std::shared_ptr<LoopbackNetwork>(new LoopbackNetwork(clock, seed));
}

std::unique_ptr<Transport> LoopbackNetwork::MakeTransport() {
  auto endpoint = std::make_shared<Endpoint>();
  absl::MutexLock lock(&mutex_);
  endpoints_.insert(endpoint);
  return std::make_unique<LoopbackTransport>(shared_from_this(), std::move(endpoint));
}

void LoopbackNetwork::Remove(const EndpointRef& endpoint) {
  absl::MutexLock lock(&mutex_);
  if (!endpoint->listening.empty()) KillLocked(endpoint->listening);
  std::vector<LinkId> mine;
  for (const auto& [id, link] : links_) {
    if (link.mine == endpoint) mine.push_back(id);
  }
  for (const LinkId id : mine) CloseLink(id);
  auto inbox = std::move(endpoint->inbox);
  for (auto& [due, item] : inbox) {
    if (item.lent != nullptr) GiveBack(std::move(item.lent));
  }
  endpoint->inbox.clear();
  endpoint->held.clear();
  endpoints_.erase(endpoint);
}

void LoopbackNetwork::Inject(const FaultRule& rule) {
  absl::MutexLock lock(&mutex_);
  faults_.Add(rule);
}

void LoopbackNetwork::ClearFaults() {
  absl::MutexLock lock(&mutex_);
  faults_.Clear();
}

uint64_t LoopbackNetwork::FaultHits(FaultKind kind) const {
  absl::MutexLock lock(&mutex_);
  return faults_.hits(kind);
}

void LoopbackNetwork::Kill(const std::string& listener) {
  absl::MutexLock lock(&mutex_);
  KillLocked(listener);
}

void LoopbackNetwork::KillLocked(const std::string& listener) {
  if (const auto it = listeners_.find(listener); it != listeners_.end()) {
    it->second->listening.clear();
    it->second->hangs = false;
    it->second->held.clear();
    listeners_.erase(it);
  }
  std::vector<LinkId> dead;
  for (const auto& [id, link] : links_) {
    if (link.listener == listener) dead.push_back(id);
  }
  for (const LinkId id : dead) {
    const EndpointRef end = links_.at(id).mine;
    links_.erase(id);
    Item item;
    item.event.kind = TransportEvent::Kind::kDown;
    item.event.link = id;
    item.event.status = absl::UnavailableError(absl::StrCat("connection to ", listener, " reset"));
    Deliver(end, absl::ZeroDuration(), std::move(item), /*wake=*/true);
  }
}

void LoopbackNetwork::Hang(const std::string& listener) {
  absl::MutexLock lock(&mutex_);
  if (const auto it = listeners_.find(listener); it != listeners_.end()) it->second->hangs = true;
}

void LoopbackNetwork::Resume(const std::string& listener) {
  absl::MutexLock lock(&mutex_);
  const auto it = listeners_.find(listener);
  if (it == listeners_.end()) return;
  it->second->hangs = false;
  it->second->woken = true;
  it->second->changed.SignalAll();
  for (auto& [to, item] : std::exchange(it->second->held, {})) {
    Deliver(to, absl::ZeroDuration(), std::move(item), /*wake=*/true);
  }
}

void LoopbackNetwork::Tick() {
  absl::MutexLock lock(&mutex_);
  for (const EndpointRef& endpoint : endpoints_) {
    endpoint->woken = true;
    endpoint->changed.SignalAll();
  }
}

absl::Duration LoopbackNetwork::NextArrival() const {
  absl::MutexLock lock(&mutex_);
  absl::Duration next = absl::InfiniteDuration();
  for (const EndpointRef& endpoint : endpoints_) {
    if (!endpoint->hangs && !endpoint->inbox.empty()) {
      next = std::min(next, endpoint->inbox.begin()->first);
    }
  }
  return next;
}

absl::StatusOr<std::string> LoopbackNetwork::Listen(const EndpointRef& endpoint,
                                                    const std::string& address) {
  absl::MutexLock lock(&mutex_);
  if (!endpoint->listening.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("already listens at ", endpoint->listening));
  }
  const std::string name = address.empty() ? absl::StrCat("loopback-", next_name_++) : address;
  if (!listeners_.try_emplace(name, endpoint).second) {
    return absl::UnavailableError(absl::StrCat(name, " is taken"));
  }
  endpoint->listening = name;
  return name;
}

absl::StatusOr<LinkId> LoopbackNetwork::Open(const EndpointRef& endpoint,
                                             const std::string& address) {
  absl::MutexLock lock(&mutex_);
  const LinkId mine{next_link_++};
  const auto it = listeners_.find(address);
  Item item;
  if (it == listeners_.end()) {
    item.event.kind = TransportEvent::Kind::kDown;
    item.event.link = mine;
    item.event.status = absl::UnavailableError(absl::StrCat("nobody listens at ", address));
    Deliver(endpoint, absl::ZeroDuration(), std::move(item), /*wake=*/true);
    return mine;
  }
  const LinkId theirs{next_link_++};
  links_[mine] = {endpoint, it->second, theirs, address, FrameDirection::kToListener};
  links_[theirs] = {it->second, endpoint, mine, address, FrameDirection::kFromListener};
  item.event.kind = TransportEvent::Kind::kAccepted;
  item.event.link = theirs;
  Deliver(it->second, absl::ZeroDuration(), std::move(item), /*wake=*/true);
  return mine;
}

void LoopbackNetwork::CloseLink(LinkId id) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  const Link link = std::move(it->second);
  links_.erase(it);
  if (!links_.contains(link.other)) return;
  Item item;
  item.event.kind = TransportEvent::Kind::kDown;
  item.event.link = link.other;
  item.event.status = absl::UnavailableError("the peer closed the connection");
  Deliver(link.theirs, absl::ZeroDuration(), std::move(item), /*wake=*/true);
}

void LoopbackNetwork::Deliver(const EndpointRef& to, absl::Duration delay, Item item, bool wake) {
  to->inbox.emplace(clock_.Elapsed() + delay, std::move(item));
  if (wake) to->changed.Signal();
}

void LoopbackNetwork::DeliverFrame(const Link& link, std::span<const std::byte> frame,
                                   absl::Duration delay, std::unique_ptr<Lent> lent) {
  Item item;
  item.event.kind = TransportEvent::Kind::kFrame;
  item.event.link = link.other;
  item.event.frame = frame;
  item.lent = std::move(lent);
  if (link.mine->hangs) {
    link.mine->held.emplace_back(link.theirs, std::move(item));
  } else {
    Deliver(link.theirs, delay, std::move(item), /*wake=*/true);
  }
}

bool LoopbackNetwork::Send(LinkId id, std::span<const std::byte> frame,
                           std::shared_ptr<const void> memory, uint64_t token) {
  absl::MutexLock lock(&mutex_);
  const auto it = links_.find(id);
  if (it == links_.end() || !links_.contains(it->second.other)) return true;
  const Link link = it->second;
  const auto header = wire::ReadHeader(frame);
  const FaultDecision fault = faults_.Decide(link.listener, link.direction,
                                             header.ok() ? *header : wire::FrameHeader{.type = {}});
  if (fault.kill) {
    KillLocked(link.listener);
    return true;
  }
  if (fault.drop) return true;
  auto lent = std::make_unique<Lent>();
  if (fault.harmless()) {
    *lent = {std::move(memory), link.mine, id, token};
    DeliverFrame(link, frame, absl::ZeroDuration(), std::move(lent));
    return false;
  }
  for (int copy = 0; copy < (fault.duplicate ? 2 : 1); ++copy) {
    const auto words = std::make_shared<std::vector<uint64_t>>((frame.size() + 7) / 8);
    const std::span<std::byte> bytes(reinterpret_cast<std::byte*>(words->data()), frame.size());
    std::memcpy(bytes.data(), frame.data(), frame.size());
    if (fault.corrupt_bit) {
      const size_t begin = frame.size() > wire::kFrameHeaderBytes ? wire::kFrameHeaderBytes : 0;
      const uint64_t bit = *fault.corrupt_bit % ((frame.size() - begin) * 8);
      bytes[begin + bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    }
    lent = std::make_unique<Lent>();
    lent->memory = words;
    DeliverFrame(link, bytes, fault.delay + (copy == 1 ? fault.duplicate_delay : absl::Duration{}),
                 std::move(lent));
  }
  return true;
}

void LoopbackNetwork::GiveBack(std::unique_ptr<Lent> lent) {
  const EndpointRef sender = lent->sender.lock();
  if (sender == nullptr) return;
  Item item;
  item.event.kind = TransportEvent::Kind::kSent;
  item.event.link = lent->sender_link;
  item.event.token = lent->token;
  // Nobody waits for memory alone: it is seen at the next poll.
  Deliver(sender, absl::ZeroDuration(), std::move(item), /*wake=*/false);
}

}  // namespace tessera
