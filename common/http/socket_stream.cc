#include "common/http/socket_stream.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera {
namespace {

std::string ErrorText(int error) { return std::strerror(error); }

}  // namespace

absl::StatusOr<SocketStream> SocketStream::Connect(const std::string& host, const std::string& port,
                                                   std::string name, absl::Duration timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return absl::UnavailableError(
        absl::StrCat("there is no host '", host, "': ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, &freeaddrinfo);
  absl::Status status = absl::UnavailableError(absl::StrCat("'", host, "' has no address"));
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    SocketStream stream(
        socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol),
        name);
    if (stream.fd_ < 0) continue;
    int error = connect(stream.fd_, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      status = stream.Await(POLLOUT, timeout);
      if (!status.ok()) continue;
      socklen_t size = sizeof(error);
      if (getsockopt(stream.fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    }
    if (error == 0) return stream;
    status = absl::UnavailableError(
        absl::StrCat("nothing listens on ", name, " (", ErrorText(error), "); is it running?"));
  }
  return status;
}

SocketStream::~SocketStream() {
  if (fd_ >= 0) close(fd_);
}
SocketStream::SocketStream(SocketStream&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), name_(std::move(other.name_)) {}

absl::Status SocketStream::Await(short events, absl::Duration timeout) const {
  pollfd entry{.fd = fd_, .events = events, .revents = 0};
  for (;;) {
    const int ready = poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat(name_, " did not answer for ", absl::FormatDuration(timeout)));
    }
    // A signal that did not end us: the wait begins again.
    if (errno != EINTR) return absl::UnavailableError(absl::StrCat(name_, ": ", ErrorText(errno)));
  }
}

absl::Status SocketStream::Write(std::string_view bytes, absl::Duration silence_max) {
  while (!bytes.empty()) {
    TESSERA_RETURN_IF_ERROR(Await(POLLOUT, silence_max));
    const ssize_t written = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EAGAIN && errno != EINTR) {
      return absl::UnavailableError(absl::StrCat(name_, " hung up: ", ErrorText(errno)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> SocketStream::Read(std::string& buffer, absl::Duration silence_max) {
  std::array<char, 16384> bytes;
  for (;;) {
    TESSERA_RETURN_IF_ERROR(Await(POLLIN, silence_max));
    const ssize_t read = recv(fd_, bytes.data(), bytes.size(), 0);
    if (read > 0) {
      buffer.append(bytes.data(), static_cast<size_t>(read));
      return true;
    }
    if (read == 0) return false;
    if (errno != EAGAIN && errno != EINTR) {
      return absl::UnavailableError(absl::StrCat(name_, " hung up: ", ErrorText(errno)));
    }
  }
}

}  // namespace tessera
