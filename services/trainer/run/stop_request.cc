#include "services/trainer/run/stop_request.h"

#include <sys/eventfd.h>
#include <sys/poll.h>
#include <unistd.h>

#include "common/base/check.h"

namespace tessera::trainer {

StopRequest::StopRequest() : done_(eventfd(0, EFD_CLOEXEC)) {
  TESSERA_CHECK(done_.get() >= 0);
  watcher_ = Thread("stop-request", [this](const std::stop_token&) { Watch(); });
}

StopRequest::~StopRequest() {
  const uint64_t one = 1;
  TESSERA_CHECK(write(done_.get(), &one, sizeof(one)) == static_cast<ssize_t>(sizeof(one)));
  watcher_.Join();
}

void StopRequest::Watch() {
  pollfd polled[] = {{done_.get(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
  while (polled[0].revents == 0) {
    if (poll(polled, 2, -1) < 0 || polled[1].revents == 0) continue;
    const int signal = signals_.Wait();
    if (made_.exchange(true)) _exit(128 + signal);
  }
}

}  // namespace tessera::trainer
