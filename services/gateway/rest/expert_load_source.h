#pragma once

// GET /v1/experts/load: which experts and shards work, for people, pages and `tessera top`.
//
//   {"window_seconds":10,
//    "layers":[{"layer":2,"rows":[17,0,4]}],
//    "shards":[{"id":"expert-0","state":"live","rows":21,"busy_ratio":0.12,"layer_rows":[21]}],
//    "routers":[{"id":"6f0c01a2b3c4d5e6","generation_tokens":900,"prompt_tokens":512,
//                "sequences_running":3,"sequences_waiting":0}]}
//
// Layers are those with experts; the sum of a layer's rows is the rows the routers computed there
// times top_k. A shard's rows are those its experts were applied to, so that the sum over shards is
// the same; layer_rows are they by layer, in the order of "layers". States: "live", "loading",
// "draining", "unreachable" (a router has no connection to it) and "lost". A router's id is that of
// its process: tokens count since it started, and a rate compares the routers that two answers,
// perhaps of two gateways, have in common.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/gateway/upstream/load_gathering.h"

namespace tessera::gateway {

std::string WriteExpertLoad(const wire::ExpertLoad& load);

// kInvalidArgument, param "window": the query asks for another window than the one there is.
// Routers keep kLoadWindow, so "window=10" and "window=10s" are what may be said.
inline constexpr absl::Duration kLoadWindow = absl::Seconds(10);
absl::Status CheckLoadWindow(std::string_view query);

// Asks the routers when somebody wants to know, for all who ask meanwhile, and not again for
// `fresh_time`. Thread-safe.
class ExpertLoadSource {
 public:
  using Collect = std::function<void(ExpertLoadDone done)>;
  // The JSON text. Called by any thread, at most until Stop returns; must not block or call this.
  using Done = std::function<void(const absl::StatusOr<std::string>& json)>;

  // `clock` is borrowed. `collect` may call its `done` at once or later, even after this ended.
  ExpertLoadSource(Collect collect, const Clock& clock,
                   absl::Duration fresh_time = absl::Milliseconds(200));
  ~ExpertLoadSource() { Stop(); }

  // Errors: kUnavailable: no router told, or stopped.
  void Ask(Done done);
  // The same, waiting up to `timeout`; kDeadlineExceeded.
  absl::StatusOr<std::string> Await(absl::Duration timeout);
  // Whoever waits is told kUnavailable, and so is everybody from now on.
  void Stop();

 private:
  struct State;
  const Collect collect_;
  const Clock& clock_;
  const absl::Duration fresh_time_;
  const std::shared_ptr<State> state_;
};

}  // namespace tessera::gateway
