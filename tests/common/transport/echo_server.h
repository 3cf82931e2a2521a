#pragma once

// A shard for tests: answers each call with its own rows (strict: the row of each pair).

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/concurrency/thread.h"
#include "common/transport/exchange_server.h"
#include "common/wire/hello_wire.h"

namespace tessera {

inline void EchoRows(const IncomingCall& call) {
  const wire::MutableRows out = call.reply_rows();
  std::vector<float> row(out.d_model);
  for (size_t i = 0; i < out.rows; ++i) {
    const bool strict = call.call.header.has(wire::kStrict);
    call.call.rows.ReadRow(strict ? call.call.pair_rows[i] : i, row);
    out.WriteRow(i, row);
  }
}

// What a test shard accepts: everybody with token 7..7, at most `credits`.
inline GreetingCheck AcceptSevens(uint32_t credits) {
  return [credits](const wire::Hello& theirs) -> absl::StatusOr<wire::Hello> {
    wire::SessionToken sevens;
    sevens.fill(7);
    if (!wire::SameToken(theirs.token, sevens)) {
      return absl::UnauthenticatedError("not the token of this session");
    }
    wire::Hello answer = theirs;
    answer.credits = std::min(theirs.credits, credits);
    answer.incarnation = 4711;
    return answer;
  };
}

class EchoServer {
 public:
  static constexpr uint32_t kRowsQueued = 5;  // as its answers claim

  EchoServer(const Clock& clock, std::unique_ptr<Transport> transport, uint32_t credits,
             const ExchangeConfig& config = {})
      : server_(config, clock, std::move(transport), AcceptSevens(credits)) {}
  ~EchoServer() { Stop(); }

  absl::StatusOr<std::string> Start(const std::string& address) {
    auto bound = server_.Listen(address);
    thread_ = Thread("echo", [this](std::stop_token stop) {
      std::vector<IncomingCall> calls;
      while (!stop.stop_requested()) {
        server_.Wait(absl::Seconds(1), calls);
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(
            +[](bool* held) { return !*held; }, &held_));
        for (IncomingCall& call : calls) {
          EchoRows(call);
          wire::ReplyTrailer trailer;
          trailer.experts_touched = static_cast<uint32_t>(call.call.segments.size());
          trailer.rows_queued = kRowsQueued;
          server_.Reply(std::move(call), trailer);
        }
        calls.clear();
      }
    });
    return bound;
  }
  void Stop() {
    Hold(false);
    thread_.RequestStop();
    server_.Interrupt();
    thread_.Stop();
  }
  // Answers nothing until let go.
  void Hold(bool held) {
    absl::MutexLock lock(&mutex_);
    held_ = held;
  }
  ExchangeServer& exchange() { return server_; }

 private:
  ExchangeServer server_;
  absl::Mutex mutex_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  Thread thread_;
};

}  // namespace tessera
