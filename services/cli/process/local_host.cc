#include "services/cli/process/local_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/entropy.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/transport/socket_address.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint16_t kFirstPort = 20000;
constexpr int kPortAttempts = 200;

class Socket {
 public:
  explicit Socket(int family) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// The first port the kernel gives away by itself.
uint16_t FirstEphemeralPort() {
  std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
  unsigned first = 0;
  if (!(file >> first) || first <= kFirstPort + 100u || first > 65535u) return 32768;
  return static_cast<uint16_t>(first);
}

// Files that processes have open, as far as this user may look.
bool SomebodyHasOpen(const fs::path& file) {
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    std::error_code gone;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", gone)) {
      const fs::path target = fs::read_symlink(fd.path(), gone);
      if (target == file) return true;
    }
  }
  return false;
}

}  // namespace

absl::Status CheckCanListen(const std::string& host, uint16_t port) {
  const std::string text = absl::StrCat(host, ":", port);
  TESSERA_ASSIGN_OR_RETURN(const SocketAddress address, ParseSocketAddress(text));
  const Socket probe(address.storage.ss_family);
  const int on = 1;  // as listeners do: connections that linger do not count
  setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(probe.get(), address.get(), address.length) == 0 && listen(probe.get(), 1) == 0) {
    return absl::OkStatus();
  }
  if (errno == EADDRINUSE) {
    return absl::UnavailableError(absl::StrCat("port ", port, " of ", host, " is in use"));
  }
  return absl::UnavailableError(absl::StrCat("cannot listen at ", text, ": ", strerror(errno)));
}

absl::StatusOr<uint16_t> PickPort(const std::string& host) {
  Random random(FreshNumber());
  const uint16_t end = FirstEphemeralPort();
  absl::Status status;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    const auto port = static_cast<uint16_t>(kFirstPort + random.Below(end - kFirstPort));
    status = CheckCanListen(host, port);
    if (status.ok()) return port;
  }
  return Annotate(status, absl::StrCat("no free port from ", kFirstPort, " to ", end - 1));
}

int HttpStatusOf(const std::string& address, const std::string& path, absl::Duration timeout) {
  const absl::StatusOr<SocketAddress> peer = ParseSocketAddress(address);
  if (!peer.ok()) return 0;
  const Socket client(peer->storage.ss_family);
  const timeval limit = absl::ToTimeval(timeout);
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(client.get(), peer->get(), peer->length) != 0) return 0;
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", address, "\r\nConnection: close\r\n\r\n");
  if (send(client.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return 0;
  std::string reply;
  char buffer[512];
  while (reply.size() < 12) {  // "HTTP/1.1 200"
    const ssize_t bytes = recv(client.get(), buffer, sizeof buffer, 0);
    if (bytes <= 0) return 0;
    reply.append(buffer, static_cast<size_t>(bytes));
  }
  int status = 0;
  return absl::SimpleAtoi(reply.substr(9, 3), &status) ? status : 0;
}

std::vector<std::string> RemoveStaleSharedMemory(const std::string& folder) {
  // The list is made first: a file that appears later belongs to somebody who lives.
  std::vector<fs::path> candidates;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    struct stat info {};
    const bool named = entry.path().filename().string().starts_with("ucx_shm_posix_");
    if (named && lstat(entry.path().c_str(), &info) == 0 && info.st_uid == geteuid()) {
      candidates.push_back(entry.path());
    }
  }
  std::vector<std::string> removed;
  for (const fs::path& file : candidates) {
    if (!SomebodyHasOpen(file) && fs::remove(file, error)) removed.push_back(file.filename());
  }
  return removed;
}

}  // namespace tessera::cli
