#pragma once

// The router's end of the exchange with expert shards.
//
//   Connect ─► Acquire a slot ─► wire::WriteCall into slot.frame ─► Post ─► Wait ─► kReply
//
// A slot is a credit: the shard keeps a receive slot for each, so nothing is ever queued without
// bound. The reply is read where it arrived; the slot is free again when its event is destroyed.

#include <cstddef>
#include <cstdint>
#include <deque>
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
#include "common/wire/hello_wire.h"
#include "common/wire/reply_wire.h"

namespace tessera {

enum class CallId : uint64_t {};  // rises with every Post; 0 is none

// Memory for one call, the caller's until Post or Return. It may be written even if the peer is
// lost meanwhile; Post then says so.
struct CallSlot {
  PeerId peer{};
  uint16_t index = 0;
  std::span<std::byte> frame;  // CallBytesMax of the geometry
  std::shared_ptr<const void> memory;
};

struct ExchangeEvent {
  enum class Kind : uint8_t {
    kReply,         // `reply` has the rows
    kNack,          // not computed, see reply.trailer.reason: may go elsewhere
    kFailed,        // `status`: kUnavailable (the peer is gone) or kDataLoss (answer corrupted)
    kPeerDown,      // `status` says why; its calls were each reported as kFailed before
    kPeerDraining,  // it takes no new calls; those in flight are answered
  };
  Kind kind = Kind::kReply;
  PeerId peer{};
  CallId call{};
  absl::Status status;
  wire::ReplyView reply;  // valid as long as `memory`
  HeldFrame memory;
};

struct PeerLoad {
  uint32_t calls = 0;        // in flight
  uint32_t rows = 0;         // of those calls
  uint32_t slots_free = 0;   // calls that may be begun now
  uint32_t rows_queued = 0;  // at the shard, as its last answer told
};

// Thread-safe, but slots and events belong to one thread (the engine): who calls Wait gets them.
// Other threads may connect, disconnect and look.
class ExchangeClient {
 public:
  // `clock` must outlive it.
  ExchangeClient(const ExchangeConfig& config, const Clock& clock,
                 std::unique_ptr<Transport> transport);
  // Ends all connections. Events with memory must be gone.
  ~ExchangeClient();

  // Connects and greets; returns when the shard accepted. `hello` goes out as it is; its geometry
  // holds for the connection.
  //   kUnavailable         nobody there, or gone again
  //   kDeadlineExceeded    no answer within `timeout`
  //   kPermissionDenied    the shard refused the greeting (its log says why)
  //   kFailedPrecondition  its answer differs from `hello`, both values named
  absl::StatusOr<PeerId> Connect(const std::string& address, const wire::Hello& hello,
                                 absl::Duration timeout);
  // Ends a connection without an event; its calls fail silently.
  void Disconnect(PeerId peer);
  // What the shard answered: its incarnation, the credits granted. kNotFound for an unknown peer.
  absl::StatusOr<wire::Hello> GreetingOf(PeerId peer) const;
  // What the connection runs over, for logs.
  std::string Describe(PeerId peer) const;

  // kResourceExhausted  all credits are in use
  // kUnavailable        the peer is gone or draining
  absl::StatusOr<CallSlot> Acquire(PeerId peer);
  // Gives a slot back unused.
  void Return(const CallSlot& slot);
  // Sends the call written into the slot; `header` is what wire::WriteCall returned.
  // kUnavailable: the peer is gone; nothing was sent and no event follows.
  absl::StatusOr<CallId> Post(const CallSlot& slot, const wire::FrameHeader& header);
  // No event for this call any more (the hedge won, the deadline passed).
  void Abandon(CallId call);

  // Appends what happened, at least one event unless `timeout` passes first. Zero only looks.
  // Returns how many.
  size_t Wait(absl::Duration timeout, std::vector<ExchangeEvent>& events);
  // Makes a Wait of another thread return.
  void Interrupt();

  PeerLoad LoadOf(PeerId peer) const;  // all zero for an unknown peer
  // loads[i] = that of peers[i]; the lock is taken once.
  void LoadsOf(std::span<const PeerId> peers, std::span<PeerLoad> loads) const;
  ExchangeStats Stats() const;

 private:
  struct Slot {
    enum class State : uint8_t { kFree, kWriting, kInFlight, kAnswered, kAbandoned };
    State state = State::kFree;
    bool sending = false;  // the transport still reads the frame
    uint16_t generation = 0;
    uint32_t rows = 0;        // of the call
    uint32_t reply_rows = 0;  // the answer must have
    CallId call{};
    absl::Duration free_at;  // an abandoned slot is used again then
  };
  struct Peer {
    LinkId link{};
    wire::Hello hello;                  // ours
    std::optional<wire::Hello> answer;  // theirs
    bool connecting = true;             // Connect waits; nobody else forgets it meanwhile
    absl::Status refused;               // why connecting failed
    bool draining = false;
    std::vector<Slot> slots;  // [credits granted]
    uint32_t credits = 0;     // <= slots.size(); the shard may lower it
    FramePool frames;
    uint32_t rows_queued = 0;  // by its last answer
    absl::Duration rows_queued_at;
    absl::Duration heard_at;
    absl::Duration asked_at;                  // when it was last pinged
    std::optional<absl::Duration> pinged_at;  // the oldest unanswered ping
  };

  void OnEvent(TransportEvent& event);
  void OnFrame(Peer& peer, TransportEvent& event);
  // True if the frame's memory was passed on.
  bool OnAnswer(Peer& peer, const wire::FrameHeader& header, TransportEvent& event);
  void OnHello(Peer& peer, const wire::FrameHeader& header, std::span<const std::byte> frame);
  void OnSent(LinkId link, uint64_t token);
  void OnRelease(void* memory);
  absl::Duration OnTimer(absl::Duration now);
  // Reports and forgets a peer.
  void Lose(LinkId link, const absl::Status& status);
  void Fail(PeerId peer, CallId call, absl::Status status);
  void SendPing(Peer& peer, absl::Duration now);
  void HurryTimer(absl::Duration when);
  void SendControl(LinkId link, std::shared_ptr<ControlFrame> frame,
                   std::span<const std::byte> bytes);
  bool SlotUsable(const Slot& slot, absl::Duration now) const;
  PeerLoad LoadNow(PeerId peer, absl::Duration now) const;
  absl::Duration PingInterval(const Peer& peer) const;
  Slot* FindCall(Peer& peer, const wire::FrameHeader& header);

  const ExchangeConfig config_;  // constant after construction
  const Clock& clock_;
  mutable Progress progress_;

  // Guarded by progress_.mutex().
  absl::flat_hash_map<LinkId, std::unique_ptr<Peer>> peers_;
  absl::flat_hash_map<CallId, std::pair<PeerId, uint16_t>> calls_;  // in flight
  absl::flat_hash_map<void*, std::pair<PeerId, uint16_t>> held_;    // memory of answers held
  std::deque<ExchangeEvent> events_;
  ExchangeStats stats_;
  uint64_t next_call_ = 1;
  absl::Duration timer_due_;
  bool interrupted_ = false;
};

}  // namespace tessera
