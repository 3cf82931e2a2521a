#pragma once

// A TCP connection that never waits without a limit.

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera {

// Owned by one thread. Movable.
class SocketStream {
 public:
  // `name` is how messages call the other end. kUnavailable: nobody listens there, or there is no
  // such host; kDeadlineExceeded.
  static absl::StatusOr<SocketStream> Connect(const std::string& host, const std::string& port,
                                              std::string name, absl::Duration timeout);
  ~SocketStream();
  SocketStream(SocketStream&& other) noexcept;
  SocketStream(const SocketStream&) = delete;

  // All of it. kUnavailable: the other end is gone; kDeadlineExceeded: it took nothing for
  // `silence_max`.
  absl::Status Write(std::string_view bytes, absl::Duration silence_max);
  // Appends what there is to `buffer`, waiting for at least a byte. False: the other end is done.
  absl::StatusOr<bool> Read(std::string& buffer, absl::Duration silence_max);

 private:
  SocketStream(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  // OK: the socket can do what `events` asks for.
  absl::Status Await(short events, absl::Duration timeout) const;

  int fd_;
  std::string name_;
};

}  // namespace tessera
