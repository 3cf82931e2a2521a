#pragma once

// The shard's end of the exchange with routers.
//
//   Listen ─► Wait ─► IncomingCall (rows read where they arrived)
//          ─► compute into call.reply_rows() ─► Reply
//
// A router may have as many calls here as it was granted credits; each has its own memory for the
// answer, so nothing is allocated and nothing queues without bound. Whoever sends garbage, or more
// than it may, is cut off; the others do not notice.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/transport/exchange.h"
#include "common/transport/frame_pool.h"
#include "common/wire/call_wire.h"
#include "common/wire/hello_wire.h"
#include "common/wire/reply_wire.h"

namespace tessera {

// A checked call. Holds the arrived frame and the place for its answer; valid even when its router
// is gone (the answer then goes nowhere). Ends in Reply or Nack; one that is dropped keeps its slot
// busy until the connection ends.
struct IncomingCall {
  PeerId peer{};
  wire::CallView call;
  absl::Duration arrived;  // Clock::Elapsed()
  wire::FrameGeometry geometry;
  std::span<std::byte> reply_frame;  // ReplyBytesMax of the geometry
  std::shared_ptr<const void> reply_memory;
  HeldFrame memory;

  // Where the answer is computed: [reply_rows, d_model] of dtype_down; old contents are arbitrary.
  wire::MutableRows reply_rows() const {
    return wire::ReplyRows(geometry, call.reply_rows(), reply_frame);
  }
};

// Decides about a greeting, under the exchange's lock: token, model, geometry. The answer goes out
// as returned but for session and token, which are the router's. An error refuses the router; it is
// logged here, the router learns only that it was refused.
using GreetingCheck = std::function<absl::StatusOr<wire::Hello>(const wire::Hello& theirs)>;

// Thread-safe; calls go to whoever waits.
class ExchangeServer {
 public:
  // `clock` must outlive it.
  ExchangeServer(const ExchangeConfig& config, const Clock& clock,
                 std::unique_ptr<Transport> transport, GreetingCheck check);
  // Ends all connections. Calls must be gone.
  ~ExchangeServer();

  // Opens the door; returns the address routers connect to. Errors as Transport::Listen.
  absl::StatusOr<std::string> Listen(const std::string& address);

  // Appends calls, at least one unless `timeout` passes first. Returns how many.
  size_t Wait(absl::Duration timeout, std::vector<IncomingCall>& calls);
  // Makes a Wait of another thread return.
  void Interrupt();

  // Sends the rows that were computed into reply_rows(). Epoch, times, load and experts_touched of
  // `trailer` are the caller's to fill; the rest is filled here.
  void Reply(IncomingCall call, const wire::ReplyTrailer& trailer);
  void Nack(IncomingCall call, wire::NackReason reason, Epoch epoch);

  // Tells all routers, now and to come, that nothing new is taken; later calls are refused with
  // kDraining. Calls already here are to be answered.
  void Drain();
  // Ends all connections; nothing arrives any more. Calls must be gone. A second Shut does nothing.
  void Shut();
  // Ends the connection of a peer that broke the contract beyond what is checked here.
  void CutOff(PeerId peer, const absl::Status& why);

  size_t peer_count() const;
  // Calls accepted and not yet answered.
  size_t calls_open() const;
  ExchangeStats Stats() const;

 private:
  struct Slot {
    bool used = false;  // `generation` means something
    bool busy = false;  // its call is being computed
    uint16_t generation = 0;
  };
  struct Peer {
    LinkId link{};
    std::optional<wire::Hello> hello;  // theirs
    wire::Hello answer;                // ours
    std::vector<Slot> slots;           // [credits granted]
    FramePool replies;
    size_t control_pending = 0;  // small frames not yet sent
    uint64_t last_finished = 0;  // call id
    absl::Duration heard_at;
  };

  void OnEvent(TransportEvent& event);
  // True if the frame's memory was passed on.
  bool OnFrame(Peer& peer, TransportEvent& event);
  bool OnCall(Peer& peer, const wire::FrameHeader& header, TransportEvent& event);
  void OnHello(Peer& peer, const wire::FrameHeader& header, std::span<const std::byte> frame);
  absl::Duration OnTimer(absl::Duration now);
  void Refuse(Peer& peer, const absl::Status& why);
  // A greeting that was read and is not welcome. The peer is told and closes the connection, else
  // it is closed a moment later: of what was sent before a close UCX may lose the last words, as it
  // looks at the socket that ends before the shared memory that has them.
  void Decline(Peer& peer, const absl::Status& why);
  void SendNack(Peer& peer, const wire::FrameHeader& call, wire::NackReason reason, Epoch epoch);
  // False: the peer does not take what it is sent, and was forgotten.
  bool SendControl(Peer& peer, std::shared_ptr<ControlFrame> frame,
                   std::span<const std::byte> bytes);
  void SendSimple(Peer& peer, wire::FrameType type, uint16_t flags, uint64_t call_id);
  // Forgets a peer; its calls keep their memory.
  void Lose(LinkId link, const absl::Status& why);
  Slot* SlotOf(const IncomingCall& call, Peer** peer);

  const ExchangeConfig config_;  // constant after construction
  const Clock& clock_;
  const GreetingCheck check_;
  mutable Progress progress_;

  // Guarded by progress_.mutex().
  absl::flat_hash_map<LinkId, std::unique_ptr<Peer>> peers_;
  absl::flat_hash_map<LinkId, absl::Duration> declined_;  // connections to be closed then
  std::deque<IncomingCall> calls_;
  ExchangeStats stats_;
  size_t calls_open_ = 0;
  bool draining_ = false;
  bool interrupted_ = false;
};

}  // namespace tessera
