#pragma once

// A router without a model: answers at once with tokens that depend on prompt and position only,
// so that a request that moves to another stub goes on with the same ones. It can hold its answers
// back, refuse, drain, die and come back at the same port.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/generation_wire.h"

namespace tessera::testing {

struct StubRouterOptions {
  // Token `index` of a request, counted from its first one ever.
  std::function<TokenId(const wire::GenerationParams& params, uint32_t index)> token =
      [](const wire::GenerationParams& params, uint32_t index) {
        return static_cast<TokenId>((params.prompt.size() * 31 + index * 7) % 200 + 32);
      };
  TokenId eos_token = -1;  // ends a request that does not ignore it
  uint32_t tokens_free = 1'000'000;
  uint32_t experts_per_token = 0;  // columns of routed experts, if asked for, over 2 layers
};

// Thread-safe.
class StubRouter {
 public:
  explicit StubRouter(StubRouterOptions options = {});
  ~StubRouter();

  std::string address() const;  // the same after Die and Revive

  // Requests stop before token `index` until Release. Also for those that run.
  void HoldAt(uint32_t index);
  void Release();
  // Every new request is refused so; OK: none is.
  void RefuseWith(absl::Status status, absl::Duration retry_after);
  // Says that it drains and gives its requests up with kUnavailable.
  void Drain();
  // Says how many tokens it would take now.
  void Announce(uint32_t tokens_free);
  // Says why requests would wait here; takes them all the same. Empty: they would not.
  void SayNotReady(std::vector<std::string> reasons);
  // Cuts everything, as a process that is killed.
  void Die();
  void Revive();

  // What arrived, in order, since the start.
  std::vector<wire::GenerationParams> requests() const;
  // Waits up to 10 seconds until so many requests arrived, or were cancelled.
  bool AwaitRequests(size_t count) const;
  bool AwaitCancels(size_t count) const;
  size_t running_count() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::testing
