#include "common/concurrency/thread.h"

#include <pthread.h>

#include <system_error>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"

namespace tessera {

Thread::Thread(std::string name, std::function<void(std::stop_token)> body) {
  const std::string short_name = name.substr(0, 15);
  try {
    thread_ = std::jthread([short_name, body = std::move(body)](std::stop_token stop) {
      pthread_setname_np(pthread_self(), short_name.c_str());
      body(std::move(stop));
    });
  } catch (const std::system_error& error) {
    TESSERA_LOG(ERROR) << "cannot start thread " << name << ": " << error.what()
                       << "; raise the limit on processes (ulimit -u, pids.max)";
    const bool thread_started = false;
    TESSERA_CHECK(thread_started);
  }
}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    Stop();
    thread_ = std::move(other.thread_);
  }
  return *this;
}

void Thread::Stop() {
  thread_.request_stop();
  Join();
}

void Thread::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace tessera
