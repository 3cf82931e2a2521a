#include "services/router/loop/load_board.h"

#include <cmath>
#include <utility>

namespace tessera::router {
namespace {

// Shares of the whole below which a change is not worth a message.
constexpr double kTokensStep = 1.0 / 32;
constexpr float kRatioStep = 1.0f / 32;

bool IsNews(const RouterLoad& told, const RouterLoad& now) {
  if (told.sequences_running != now.sequences_running ||
      told.sequences_waiting != now.sequences_waiting || told.draining != now.draining ||
      told.epoch != now.epoch || (told.tokens_free == 0) != (now.tokens_free == 0)) {
    return true;
  }
  const double moved = std::fabs(double{1} * told.tokens_free - now.tokens_free);
  return moved > kTokensStep * told.tokens_free ||
         std::fabs(told.kv_used_ratio - now.kv_used_ratio) > kRatioStep;
}

}  // namespace

RouterLoad LoadBoard::Read() const {
  absl::MutexLock lock(&mutex_);
  return load_;
}

void LoadBoard::Write(RouterLoad load) {
  {
    absl::MutexLock lock(&mutex_);
    load.draining |= load_.draining;
    load.not_ready = load_.not_ready;
    load_ = load;
    if (!IsNews(told_, load)) return;
    told_ = load;
  }
  Tell();
}

void LoadBoard::SetDraining() {
  {
    absl::MutexLock lock(&mutex_);
    load_.draining = true;
    told_ = load_;
  }
  Tell();
}

void LoadBoard::SetNotReady(std::vector<std::string> reasons) {
  {
    absl::MutexLock lock(&mutex_);
    if (load_.not_ready == reasons) return;
    load_.not_ready = std::move(reasons);
    told_ = load_;
  }
  Tell();
}

void LoadBoard::Listen(std::function<bool()> listener) {
  absl::MutexLock lock(&listeners_mutex_);
  listeners_.push_back(std::move(listener));
}

void LoadBoard::Tell() {
  absl::MutexLock lock(&listeners_mutex_);
  std::erase_if(listeners_, [](const std::function<bool()>& listener) { return !listener(); });
}

}  // namespace tessera::router
