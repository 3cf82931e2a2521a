#pragma once

// Any transport, whose listener's frames suffer faults on their way out: what loopback does inside
// one process, for real processes.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/transport/fault_plan.h"
#include "common/transport/transport.h"

namespace tessera::testing {

// Logged at the first frame that a fault hits.
inline constexpr char kFirstHit[] = "the first frame suffers a fault";

// As thread-safe as what it wraps. Direction and listener of a rule are not looked at: every frame
// sent is meant. kKill counts as kDrop.
class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, const Clock& clock, FaultPlan plan);

  absl::StatusOr<std::string> Listen(const std::string& address) override;
  absl::StatusOr<LinkId> Open(const std::string& address) override;
  void Close(LinkId link, bool flush) override;
  bool Send(LinkId link, std::span<const std::byte> frame, std::shared_ptr<const void> memory,
            uint64_t token) override;
  void Release(void* memory) override { inner_->Release(memory); }
  void Poll(std::vector<TransportEvent>& events) override;
  bool Arm() override;
  void Sleep(absl::Duration timeout) override;
  void Wake() override { inner_->Wake(); }
  std::string Describe(LinkId link) override { return inner_->Describe(link); }

 private:
  struct Held {
    LinkId link;
    size_t size;
    std::shared_ptr<std::vector<uint64_t>> bytes;
  };
  void Hold(LinkId link, std::span<const std::byte> frame, absl::Duration delay,
            const FaultDecision& decision);
  void SendNow(const Held& held);
  void SendDue();
  void Forget(LinkId link);
  void NoteNextDue();

  const std::unique_ptr<Transport> inner_;
  const Clock& clock_;
  FaultPlan plan_;
  bool has_hit_ = false;
  std::multimap<absl::Duration, Held> held_;  // by when they are due
  std::atomic<int64_t> next_due_ns_;          // of Clock::Elapsed()
};

}  // namespace tessera::testing
