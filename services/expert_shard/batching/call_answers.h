#pragma once

#include <utility>

#include "common/base/ids.h"
#include "common/transport/exchange_server.h"

namespace tessera::expert_shard {

// Where answers go. Called by the compute thread.
class CallAnswers {
 public:
  virtual ~CallAnswers() = default;
  // The rows stand in call.reply_rows(). Reason, credits and incarnation of `trailer` are filled in
  // by who sends it.
  virtual void Reply(IncomingCall call, const wire::ReplyTrailer& trailer) = 0;
  virtual void Nack(IncomingCall call, wire::NackReason reason, Epoch epoch) = 0;
};

// Back to the routers the calls came from.
class ExchangeAnswers final : public CallAnswers {
 public:
  explicit ExchangeAnswers(ExchangeServer& exchange) : exchange_(exchange) {}
  void Reply(IncomingCall call, const wire::ReplyTrailer& trailer) override {
    exchange_.Reply(std::move(call), trailer);
  }
  void Nack(IncomingCall call, wire::NackReason reason, Epoch epoch) override {
    exchange_.Nack(std::move(call), reason, epoch);
  }

 private:
  ExchangeServer& exchange_;
};

}  // namespace tessera::expert_shard
