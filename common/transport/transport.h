#pragma once

// Moves whole frames between two processes and knows nothing of calls. Ways of doing it:
//   transport_shm.h       memory that two processes of one box share
//   transport_ucx.h       shared memory and TCP of one box, TCP or RDMA between boxes
//   transport_grpc.h      a gRPC stream, where nothing else passes
//   transport_loopback.h  in process; injects faults
// What calls, credits and heartbeats are is the same for all: exchange_client.h, exchange_server.h.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera {

// One connection as one end knows it; never used again within a transport's life.
enum class LinkId : uint64_t {};

struct TransportEvent {
  enum class Kind : uint8_t {
    kAccepted,  // somebody connected to our listener
    kFrame,     // `frame` arrived; its memory is lent until Release(memory)
    kSent,      // the send with this token no longer needs its memory, whatever became of it
    kDown,      // the link is gone, `status` says why; the last event of a link but for kSent.
                // Close(link) frees what is left of it
  };
  Kind kind = Kind::kFrame;
  LinkId link{};
  uint64_t token = 0;
  std::span<const std::byte> frame;  // aligned to wire::kFrameAlignment
  void* memory = nullptr;
  absl::Status status;
};

// All but Sleep and Wake are called by one thread at a time, under a lock of the caller's.
// Frames arrive whole or not at all, in any order; an arrived frame is what was sent unless a
// fault was injected. A peer that dies is reported by kDown; one that hangs is not.
class Transport {
 public:
  virtual ~Transport() = default;

  // Accepts connections at `address` ("host:port", port 0: any; "[::1]:0"; a name for loopback).
  // Returns the address others connect to. kUnavailable if it cannot be had; kFailedPrecondition if
  // already listening.
  virtual absl::StatusOr<std::string> Listen(const std::string& address) = 0;

  // Begins a connection. Frames may be sent at once; failure to connect comes as kDown or, if the
  // address is impossible, as kInvalidArgument.
  virtual absl::StatusOr<LinkId> Open(const std::string& address) = 0;

  // Ends a link; nothing is told to anybody here but for pending kSent. An unknown link is ignored.
  // What was sent before is delivered if `flush`, else perhaps not.
  virtual void Close(LinkId link, bool flush) = 0;

  // True: done, the memory is free again. False: kSent with `token` follows. The bytes stay as they
  // are until then; `memory` is kept alive for as long. A send on a dead link is done at once.
  virtual bool Send(LinkId link, std::span<const std::byte> frame,
                    std::shared_ptr<const void> memory, uint64_t token) = 0;

  // Gives a received frame's memory back.
  virtual void Release(void* memory) = 0;

  // Moves everything along without waiting and appends what happened.
  virtual void Poll(std::vector<TransportEvent>& events) = 0;

  // Prepares a Sleep. False: something is pending, Poll again instead.
  virtual bool Arm() = 0;

  // After Arm: waits until something happens, Wake is called, or `timeout` passes. May return early
  // for no reason. Needs no lock; one thread at a time sleeps.
  virtual void Sleep(absl::Duration timeout) = 0;

  // Makes the sleeper return, or the next Sleep if nobody sleeps. From any thread.
  virtual void Wake() = 0;

  // What a link runs over, for logs ("posix, tcp"); empty if unknown.
  virtual std::string Describe(LinkId) { return {}; }
};

}  // namespace tessera
