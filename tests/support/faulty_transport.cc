#include "tests/support/faulty_transport.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/expert_wire.h"

namespace tessera::testing {
namespace {

// Of sends that nobody but us asked for: their kSent is not passed on.
constexpr uint64_t kOurToken = uint64_t{1} << 63;

}  // namespace

FaultyTransport::FaultyTransport(std::unique_ptr<Transport> inner, const Clock& clock,
                                 FaultPlan plan)
    : inner_(std::move(inner)),
      clock_(clock),
      plan_(std::move(plan)),
      next_due_ns_(std::numeric_limits<int64_t>::max()) {}

absl::StatusOr<std::string> FaultyTransport::Listen(const std::string& address) {
  return inner_->Listen(address);
}

absl::StatusOr<LinkId> FaultyTransport::Open(const std::string& address) {
  return inner_->Open(address);
}

void FaultyTransport::Close(LinkId link, bool flush) {
  if (flush) {
    for (const auto& [due, held] : held_) {
      if (held.link == link) SendNow(held);
    }
  }
  Forget(link);
  inner_->Close(link, flush);
}

bool FaultyTransport::Send(LinkId link, std::span<const std::byte> frame,
                           std::shared_ptr<const void> memory, uint64_t token) {
  TESSERA_CHECK((token & kOurToken) == 0);
  const auto header = wire::ReadHeader(frame);
  TESSERA_CHECK(header.ok());
  const FaultDecision decision = plan_.Decide("", FrameDirection::kFromListener, *header);
  if (decision.harmless()) return inner_->Send(link, frame, std::move(memory), token);
  if (!std::exchange(has_hit_, true)) TESSERA_LOG(INFO) << kFirstHit;
  if (decision.drop || decision.kill) return true;
  Hold(link, frame, decision.delay, decision);
  if (decision.duplicate) Hold(link, frame, decision.delay + decision.duplicate_delay, {});
  SendDue();
  return true;
}

void FaultyTransport::Hold(LinkId link, std::span<const std::byte> frame, absl::Duration delay,
                           const FaultDecision& decision) {
  Held held{link, frame.size(), std::make_shared<std::vector<uint64_t>>(frame.size() / 8 + 1)};
  auto* const bytes = reinterpret_cast<std::byte*>(held.bytes->data());
  std::memcpy(bytes, frame.data(), frame.size());
  if (decision.corrupt_bit) {
    // Behind the header where there is something: a header that lies ends the session.
    const size_t begin = frame.size() > wire::kFrameHeaderBytes ? wire::kFrameHeaderBytes : 0;
    const size_t bit = *decision.corrupt_bit % ((frame.size() - begin) * 8);
    bytes[begin + bit / 8] ^= std::byte{1} << (bit % 8);
  }
  held_.emplace(clock_.Elapsed() + delay, std::move(held));
  NoteNextDue();
}

void FaultyTransport::SendNow(const Held& held) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(*held.bytes));
  inner_->Send(held.link, bytes.first(held.size), held.bytes, kOurToken);
}

void FaultyTransport::SendDue() {
  const absl::Duration now = clock_.Elapsed();
  while (!held_.empty() && held_.begin()->first <= now) {
    SendNow(held_.begin()->second);
    held_.erase(held_.begin());
  }
  NoteNextDue();
}

void FaultyTransport::Forget(LinkId link) {
  std::erase_if(held_, [link](const auto& entry) { return entry.second.link == link; });
  NoteNextDue();
}

void FaultyTransport::NoteNextDue() {
  next_due_ns_.store(held_.empty() ? std::numeric_limits<int64_t>::max()
                                   : absl::ToInt64Nanoseconds(held_.begin()->first));
}

void FaultyTransport::Poll(std::vector<TransportEvent>& events) {
  SendDue();
  const size_t before = events.size();
  inner_->Poll(events);
  for (size_t i = before; i < events.size(); ++i) {
    if (events[i].kind == TransportEvent::Kind::kDown) Forget(events[i].link);
  }
  const auto ours = [](const TransportEvent& event) {
    return event.kind == TransportEvent::Kind::kSent && (event.token & kOurToken) != 0;
  };
  events.erase(std::remove_if(events.begin() + static_cast<ptrdiff_t>(before), events.end(), ours),
               events.end());
}

bool FaultyTransport::Arm() {
  if (next_due_ns_.load() <= absl::ToInt64Nanoseconds(clock_.Elapsed())) return false;
  return inner_->Arm();
}

void FaultyTransport::Sleep(absl::Duration timeout) {
  const int64_t due = next_due_ns_.load();
  const absl::Duration until_due =
      due == std::numeric_limits<int64_t>::max()
          ? absl::InfiniteDuration()
          : std::max(absl::Nanoseconds(due) - clock_.Elapsed(), absl::ZeroDuration());
  inner_->Sleep(std::min(timeout, until_due));
}

}  // namespace tessera::testing
