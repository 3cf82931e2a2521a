#include "services/cli/process/control_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/json_string.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera::cli {
namespace {

constexpr char kName[] = "control.sock";

absl::Status Failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// An open file that is closed at the end of the block.
struct OpenFile {
  int fd = -1;
  ~OpenFile() {
    if (fd >= 0) close(fd);
  }
};

// A socket's address holds 107 bytes, a state folder's path may be longer: by way of the open
// folder it is short.
sockaddr_un AddressIn(int folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = absl::StrCat("/proc/self/fd/", folder, "/", kName);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

void Watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// What one line of the answer says: nothing if it was a text.
absl::StatusOr<bool> TakeLine(const std::string& line,
                              const std::function<void(const std::string&)>& on_text) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(line));
  if (const auto text = document.root().Find("text")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view words, text->AsString());
    on_text(std::string(words));
    return false;
  }
  if (const auto error = document.root().Find("error")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view words, error->AsString());
    return absl::FailedPreconditionError(std::string(words));
  }
  return document.root().Find("done").has_value();
}

}  // namespace

ControlSocket::ControlSocket(std::string path, int listener, int epoll)
    : path_(std::move(path)), listener_(listener), epoll_(epoll) {
  Watch(epoll_, listener_);
}

ControlSocket::~ControlSocket() {
  for (const auto& [client, text] : clients_) close(client);
  close(epoll_);
  close(listener_);
  unlink(path_.c_str());
}

absl::StatusOr<std::unique_ptr<ControlSocket>> ControlSocket::Listen(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kName);
  const OpenFile open_folder{open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (open_folder.fd < 0) return Failed(folder);
  unlink(path.c_str());
  OpenFile listener{socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (listener.fd < 0) return Failed(path);
  const sockaddr_un address = AddressIn(open_folder.fd);
  // Nobody else may connect from the first moment on.
  const mode_t mask = umask(0177);
  const int bound = bind(listener.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound != 0 || listen(listener.fd, 8) != 0) return Failed(path);
  OpenFile epoll{epoll_create1(EPOLL_CLOEXEC)};
  if (epoll.fd < 0) return Failed(path);
  return std::unique_ptr<ControlSocket>(
      new ControlSocket(path, std::exchange(listener.fd, -1), std::exchange(epoll.fd, -1)));
}

std::vector<ControlSocket::Question> ControlSocket::Take() {
  std::vector<Question> questions;
  epoll_event events[kClientsMax + 1];
  const int count = epoll_wait(epoll_, events, kClientsMax + 1, 0);
  for (int i = 0; i < count; ++i) {
    const int fd = events[i].data.fd;
    if (fd == listener_) {
      Accept();
    } else if (!Read(fd, questions)) {
      Close(fd);
    }
  }
  return questions;
}

void ControlSocket::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  if (clients_.size() >= kClientsMax) {
    close(client);
    return;
  }
  clients_[client];
  Watch(epoll_, client);
}

bool ControlSocket::Read(int client, std::vector<Question>& questions) {
  char bytes[1024];
  const ssize_t count = read(client, bytes, sizeof bytes);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  std::string& text = clients_[client];
  text.append(bytes, static_cast<size_t>(count));
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
    questions.push_back({client, text.substr(0, end)});
    text.erase(0, end + 1);
  }
  return text.size() <= kLineBytesMax;
}

void ControlSocket::Close(int client) {
  if (clients_.erase(client) > 0) close(client);
}

void ControlSocket::Write(int client, const std::string& line) {
  if (!clients_.contains(client)) return;
  // Who does not read a few lines does not get them.
  const ssize_t written = send(client, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (written != static_cast<ssize_t>(line.size())) Close(client);
}

void ControlSocket::Tell(int client, const std::string& text) {
  Write(client, absl::StrCat("{\"text\":", JsonQuoted(text), "}\n"));
}

void ControlSocket::Finish(int client, const absl::Status& status) {
  Write(client, status.ok() ? "{\"done\":true}\n"
                            : absl::StrCat("{\"error\":", JsonQuoted(std::string(status.message())),
                                           "}\n"));
  Close(client);
}

absl::Status AskControl(const std::string& folder, const std::string& question,
                        absl::Duration timeout,
                        const std::function<void(const std::string&)>& on_text) {
  const OpenFile open_folder{open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const OpenFile asking{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const sockaddr_un address = AddressIn(open_folder.fd);
  if (open_folder.fd < 0 || asking.fd < 0 ||
      connect(asking.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return absl::NotFoundError(absl::StrCat("no `tessera up` answers at ", folder, "/", kName, ": ",
                                            std::strerror(errno),
                                            "; name its folder with --state_dir"));
  }
  const std::string line = question + "\n";
  if (send(asking.fd, line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    return Failed(folder);
  }
  std::string text;
  for (;;) {
    for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      TESSERA_ASSIGN_OR_RETURN(const bool done, TakeLine(text.substr(0, end), on_text));
      if (done) return absl::OkStatus();
      text.erase(0, end + 1);
    }
    pollfd polled{asking.fd, POLLIN, 0};
    if (poll(&polled, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) == 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("the cluster said nothing for ", absl::FormatDuration(timeout)));
    }
    char bytes[1024];
    const ssize_t count = read(asking.fd, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return absl::UnavailableError("the cluster went away before it was done");
    text.append(bytes, static_cast<size_t>(count));
  }
}

}  // namespace tessera::cli
