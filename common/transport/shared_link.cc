#include "common/transport/shared_link.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera {
namespace {

constexpr int kBacklog = 64;
constexpr size_t kDescriptors = 3;  // memory, bell of the taker, bell of the offerer
// Whoever offers says first what; another layout has another number.
constexpr uint64_t kLayoutNumber = 0x0100'4c53'5353'4554;

absl::Status Unavailable(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

struct UnixAddress {
  sockaddr_un address{};
  socklen_t bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

absl::StatusOr<UnixAddress> AbstractAddress(const std::string& name) {
  UnixAddress result;
  // The first byte of sun_path is zero, which is what makes it abstract.
  if (name.empty() || name.size() + 1 > sizeof result.address.sun_path) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", name, "' is no name for shared memory, expected 1 to ",
                     sizeof result.address.sun_path - 1, " characters"));
  }
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path + 1, name.data(), name.size());
  result.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

OwnedFd UnixSocket() {
  return OwnedFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// A message of kLayoutNumber with descriptors.
struct Handover {
  uint64_t number = 0;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptors * sizeof(int))> control{};
  iovec part{&number, sizeof number};
  msghdr message{};

  Handover() {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
};

bool SendHandover(int socket, const std::array<int, kDescriptors>& descriptors) {
  Handover handover;
  handover.number = kLayoutNumber;
  cmsghdr* const rights = CMSG_FIRSTHDR(&handover.message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof descriptors);
  std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof descriptors);
  return sendmsg(socket, &handover.message, MSG_NOSIGNAL) == sizeof handover.number;
}

// The descriptors of a handover; kUnavailable if it is none. Requires that a message is there.
absl::StatusOr<std::array<OwnedFd, kDescriptors>> ReceiveHandover(Handover& handover) {
  std::array<OwnedFd, kDescriptors> owned;
  size_t count = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&handover.message); part != nullptr;
       part = CMSG_NXTHDR(&handover.message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < here; ++i, ++count) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof descriptor);
      OwnedFd received(descriptor);  // one too many is closed
      if (count < kDescriptors) owned[count] = std::move(received);
    }
  }
  if (handover.number != kLayoutNumber || count != kDescriptors) {
    return absl::UnavailableError("the peer shares memory in another way than this version");
  }
  return owned;
}

}  // namespace

struct SharedLink::Layout {
  std::array<SlotMemory, 2> queues;  // of what the offerer sends, of what the taker sends

  static Layout* Map(int memory) {
    void* const at =
        mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE, MAP_SHARED, memory, /*offset=*/0);
    return at == MAP_FAILED ? nullptr : static_cast<Layout*>(at);
  }
};

absl::StatusOr<OwnedFd> ListenUnix(const std::string& name) {
  TESSERA_ASSIGN_OR_RETURN(const UnixAddress address, AbstractAddress(name));
  OwnedFd listener = UnixSocket();
  if (!listener.valid() || bind(listener.get(), address.get(), address.bytes) != 0 ||
      listen(listener.get(), kBacklog) != 0) {
    return Unavailable(absl::StrCat("cannot listen at shm:", name));
  }
  return listener;
}

absl::StatusOr<OwnedFd> ConnectUnix(const std::string& name) {
  TESSERA_ASSIGN_OR_RETURN(const UnixAddress address, AbstractAddress(name));
  OwnedFd socket = UnixSocket();
  if (!socket.valid() || connect(socket.get(), address.get(), address.bytes) != 0) {
    return Unavailable(absl::StrCat("cannot connect to shm:", name));
  }
  return socket;
}

OwnedFd OpenSpare() { return OwnedFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

OwnedFd AcceptUnix(const OwnedFd& listener, OwnedFd& spare) {
  for (;;) {
    OwnedFd accepted(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!accepted.valid() && (errno == EMFILE || errno == ENFILE) && spare.valid()) {
      spare = OwnedFd();
      accepted = OwnedFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const bool turned_away = accepted.valid();
      accepted = OwnedFd();
      spare = OpenSpare();
      if (turned_away) continue;
    }
    if (!accepted.valid()) return accepted;
    ucred peer{};
    socklen_t bytes = sizeof peer;
    const bool known = getsockopt(accepted.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0;
    if (known && (peer.uid == geteuid() || peer.uid == 0)) return accepted;
  }
}

absl::StatusOr<std::unique_ptr<SharedLink>> SharedLink::Offer(OwnedFd socket) {
  const OwnedFd memory(memfd_create("tessera-link", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  OwnedFd ours(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  OwnedFd theirs(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!memory.valid() || !ours.valid() || !theirs.valid() ||
      ftruncate(memory.get(), sizeof(Layout)) != 0 ||
      fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Unavailable("cannot make memory to share");
  }
  Layout* const mapped = Layout::Map(memory.get());
  if (mapped == nullptr) return Unavailable("cannot map memory to share");
  const std::array<int, kDescriptors> descriptors{memory.get(), theirs.get(), ours.get()};
  auto link = absl::WrapUnique(new SharedLink(std::move(socket), std::move(ours), std::move(theirs),
                                              mapped, /*offered=*/true));
  if (!SendHandover(link->socket(), descriptors)) return Unavailable("the peer is gone");
  return link;
}

absl::StatusOr<std::unique_ptr<SharedLink>> SharedLink::Take(OwnedFd& socket) {
  Handover handover;
  const ssize_t bytes = recvmsg(socket.get(), &handover.message, MSG_CMSG_CLOEXEC);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return nullptr;
  if (bytes <= 0) return absl::UnavailableError("the peer is gone");
  TESSERA_ASSIGN_OR_RETURN(auto descriptors, ReceiveHandover(handover));
  auto& [memory, ours, theirs] = descriptors;
  struct stat file {};
  const int seals = fcntl(memory.get(), F_GET_SEALS);
  // Unsealed, the peer could cut the file off under our feet.
  if (fstat(memory.get(), &file) != 0 || file.st_size != sizeof(Layout) || seals < 0 ||
      (seals & F_SEAL_SHRINK) == 0) {
    return absl::UnavailableError("the peer offers memory of another layout");
  }
  Layout* const mapped = Layout::Map(memory.get());
  if (mapped == nullptr) return Unavailable("cannot map the peer's memory");
  return absl::WrapUnique(new SharedLink(std::move(socket), std::move(ours), std::move(theirs),
                                         mapped, /*offered=*/false));
}

SharedLink::SharedLink(OwnedFd socket, OwnedFd bell, OwnedFd peer_bell, Layout* memory,
                       bool offered)
    : socket_(std::move(socket)),
      bell_(std::move(bell)),
      peer_bell_(std::move(peer_bell)),
      memory_(memory),
      out_(memory->queues[offered ? 0 : 1]),
      in_(memory->queues[offered ? 1 : 0]) {}

SharedLink::~SharedLink() { munmap(memory_, sizeof(Layout)); }

void SharedLink::Ring() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t bytes = write(peer_bell_.get(), &one, sizeof one);
}

bool SharedLink::PeerGone() const {
  char byte;
  const ssize_t bytes = recv(socket_.get(), &byte, sizeof byte, MSG_DONTWAIT | MSG_PEEK);
  return bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR);
}

void SharedLink::HangUp() { shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace tessera
