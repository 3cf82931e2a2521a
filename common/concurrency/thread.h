#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <thread>

namespace tessera {

// A named thread, stopped and joined by its owner. Movable; thread-compatible.
class Thread {
 public:
  Thread() = default;  // no thread
  // Starts `body` at once. `name` is what tools show (the kernel keeps its first 15 characters).
  // `body` returns soon after its token is told to stop. A process that may start no thread cannot
  // go on: it logs why and stops.
  Thread(std::string name, std::function<void(std::stop_token)> body);
  // Asks to stop and joins.
  ~Thread() { Stop(); }
  Thread(Thread&&) noexcept = default;
  // Stops and joins the thread held so far.
  Thread& operator=(Thread&& other) noexcept;

  // Tells the body to stop; does not wait. Callable from any thread while the object lives.
  void RequestStop() { thread_.request_stop(); }
  // RequestStop and wait for the end of the body; a second call does nothing. Never from the body.
  void Stop();
  // Waits for the body to end by itself.
  void Join();
  bool joinable() const { return thread_.joinable(); }

 private:
  std::jthread thread_;
};

}  // namespace tessera
