#include "common/rpc/stop_signals.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>

#include "common/base/check.h"

namespace tessera {
namespace {

int OpenSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM}) {
    sigaddset(&set, signal);
    // A shell starts what it runs in the background with SIGINT ignored, and an ignored signal is
    // thrown away before anybody can read it.
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    TESSERA_CHECK(sigaction(signal, &action, nullptr) == 0);
  }
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  TESSERA_CHECK(sigaction(SIGPIPE, &ignore, nullptr) == 0);
  TESSERA_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  const int fd = signalfd(-1, &set, SFD_CLOEXEC);
  TESSERA_CHECK(fd >= 0);
  return fd;
}

}  // namespace

StopSignals::StopSignals() : fd_(OpenSignals()) {}

int StopSignals::Wait() {
  signalfd_siginfo info{};
  while (true) {
    const ssize_t bytes = read(fd_.get(), &info, sizeof(info));
    if (bytes == static_cast<ssize_t>(sizeof(info))) return static_cast<int>(info.ssi_signo);
    TESSERA_CHECK(bytes < 0 && errno == EINTR);
  }
}

bool StopSignals::pending() const {
  pollfd polled{fd_.get(), POLLIN, 0};
  return poll(&polled, 1, 0) > 0;
}

StopSignals::Outcome StopSignals::RunBeside(const std::string& name, absl::Duration limit,
                                            std::function<void()> work) {
  // Both outlive this call if the work does.
  auto done = std::make_unique<OwnedFd>(eventfd(0, EFD_CLOEXEC));
  TESSERA_CHECK(done->get() >= 0);
  auto thread = std::make_unique<Thread>(
      name, [work = std::move(work), fd = done->get()](const std::stop_token&) {
        work();
        const uint64_t one = 1;
        TESSERA_CHECK(write(fd, &one, sizeof(one)) == static_cast<ssize_t>(sizeof(one)));
      });
  pollfd polled[] = {{done->get(), POLLIN, 0}, {fd_.get(), POLLIN, 0}};
  const int timeout_ms =
      limit == absl::InfiniteDuration()
          ? -1
          : static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(limit), 1 << 30));
  int ready = 0;
  do {
    ready = poll(polled, 2, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (polled[0].revents != 0) {
    thread->Join();
    return Outcome::kDone;
  }
  static_cast<void>(thread.release());
  static_cast<void>(done.release());
  return ready > 0 ? Outcome::kSignal : Outcome::kTimeout;
}

}  // namespace tessera
