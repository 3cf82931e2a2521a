#pragma once

// What two processes of one box share for a link: a queue each way, a bell each, and a Unix socket
// by which it was handed over and that closes when one of them dies.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/owned_fd.h"
#include "common/transport/slot_queue.h"

namespace tessera {

// A socket that listens under `name` in the abstract namespace: what shares a network namespace can
// connect, and nothing is left behind by a process that is killed. kUnavailable if the name is
// taken; kInvalidArgument if it is empty or too long.
absl::StatusOr<OwnedFd> ListenUnix(const std::string& name);
// kUnavailable if nobody listens there, or has no time for us.
absl::StatusOr<OwnedFd> ConnectUnix(const std::string& name);
// The next who connected, or none (invalid). Who runs as another user is turned away; so is whoever
// comes while this process has no descriptor left: `spare`, of OpenSpare, is given up for a moment
// then, or the listener would be ready for ever and its owner never sleep.
OwnedFd AcceptUnix(const OwnedFd& listener, OwnedFd& spare);
// A descriptor of nothing.
OwnedFd OpenSpare();

// Thread-compatible.
class SharedLink {
 public:
  // Makes the memory and hands it over. kUnavailable if the peer or the memory is not to be had.
  static absl::StatusOr<std::unique_ptr<SharedLink>> Offer(OwnedFd socket);
  // Takes what the peer offers. A null link: not yet offered, `socket` is as it was. kUnavailable:
  // the peer is gone, or runs something else.
  static absl::StatusOr<std::unique_ptr<SharedLink>> Take(OwnedFd& socket);
  ~SharedLink();
  SharedLink(const SharedLink&) = delete;
  SharedLink& operator=(const SharedLink&) = delete;

  SlotWriter& out() { return out_; }
  SlotReader& in() { return in_; }
  // Rings the peer's bell.
  void Ring();
  // Becomes readable each time the peer rings; never to be read.
  int bell() const { return bell_.get(); }
  // Readable when the peer is gone.
  int socket() const { return socket_.get(); }
  // Looks whether the peer is gone.
  bool PeerGone() const;
  // The peer sees us as gone; memory stays.
  void HangUp();

 private:
  struct Layout;

  SharedLink(OwnedFd socket, OwnedFd bell, OwnedFd peer_bell, Layout* memory, bool offered);

  const OwnedFd socket_;
  const OwnedFd bell_;
  const OwnedFd peer_bell_;
  Layout* const memory_;
  SlotWriter out_;
  SlotReader in_;
};

}  // namespace tessera
