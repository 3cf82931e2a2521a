#pragma once

// Time in a simulated cluster: what happens when, and who computes meanwhile.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace tessera::cli {

struct SimulatedEvent {
  enum class Kind : uint8_t {
    kLayer,   // a router knows a layer's routing
    kPosted,  // and has written its calls
    kArrive,
    kServed,
    kReply,
    kOthers,  // a gateway or a client has had its turn
    kFail,
    kReturn,
    kRetry,
    kMoves
  };
  double at_us = 0;
  uint64_t order = 0;  // of two at one time the older is first
  Kind kind = Kind::kLayer;
  uint32_t who = 0;       // router or shard
  uint64_t life = 0;      // of the shard
  size_t call = 0;        // which
  bool computes = false;  // a processor was busy until now

  friend bool operator>(const SimulatedEvent& a, const SimulatedEvent& b) {
    return std::pair(a.at_us, a.order) > std::pair(b.at_us, b.order);
  }
};

// Owned by the simulation.
class SimulatedEvents {
 public:
  // That all who compute share, first come first served; 0: everyone has its own.
  explicit SimulatedEvents(size_t processors) : processors_(processors) {}

  double now_us() const { return now_us_; }
  bool empty() const { return events_.empty(); }
  // A number that differs from call to call and repeats from run to run.
  uint64_t order() const { return order_; }

  void Push(double at_us, SimulatedEvent event) {
    event.at_us = at_us;
    event.order = order_++;
    events_.push(event);
  }
  // The event comes after so much work, for which a processor is needed.
  void Compute(double us, SimulatedEvent event) {
    if (processors_ == 0) return Push(now_us_ + us, event);
    event.computes = true;
    waiting_.emplace_back(us, event);
    if (computing_ < processors_) BeginWaiting();
  }
  // The next event; it is its time then. Requires !empty().
  SimulatedEvent Pop() {
    const SimulatedEvent event = events_.top();
    events_.pop();
    now_us_ = event.at_us;
    if (event.computes) {
      --computing_;
      if (!waiting_.empty()) BeginWaiting();
    }
    return event;
  }

 private:
  void BeginWaiting() {
    ++computing_;
    Push(now_us_ + waiting_.front().first, waiting_.front().second);
    waiting_.pop_front();
  }

  const size_t processors_;  // constant after construction
  double now_us_ = 0;
  uint64_t order_ = 0;
  size_t computing_ = 0;
  std::deque<std::pair<double, SimulatedEvent>> waiting_;  // work and what follows
  std::priority_queue<SimulatedEvent, std::vector<SimulatedEvent>, std::greater<>> events_;
};

}  // namespace tessera::cli
