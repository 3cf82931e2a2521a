#pragma once

// A router for tests: greetings, calls and a client with helpers that wait for what they expect.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/moe/dispatch_plan.h"
#include "common/tensor/matrix.h"
#include "common/transport/exchange_client.h"
#include "common/wire/call_wire.h"

namespace tessera {

inline wire::FrameGeometry SampleGeometry(bool strict = false) {
  return {.d_model = 1536,
          .layer_count = 8,
          .expert_count = 16,
          .rows_max = 256,
          .pairs_max = 1024,
          .dtype_up = wire::RowDType::kF32,
          .dtype_down = wire::RowDType::kF32,
          .strict = strict};
}

inline wire::Hello SampleHello(uint32_t session = 1) {
  wire::Hello hello;
  hello.session = session;
  hello.incarnation = 1;
  hello.token.fill(7);
  hello.geometry = SampleGeometry();
  hello.credits = 3;
  return hello;
}

// Rows 0..rows-1, each to experts 3 and 9.
inline ShardPlan SamplePlan(size_t rows) {
  ShardPlan plan;
  plan.segments = {{ExpertId{3}, 0, 1, static_cast<uint32_t>(rows)},
                   {ExpertId{9}, 1, 1, static_cast<uint32_t>(rows)}};
  for (uint32_t i = 0; i < rows; ++i) plan.rows.push_back(i);
  for (int copy = 0; copy < 2; ++copy) {
    for (size_t i = 0; i < rows; ++i) plan.pair_rows.push_back(static_cast<uint16_t>(i));
  }
  plan.pair_weights.assign(2 * rows, 0.5f);
  return plan;
}

// Row r is filled with numbers that depend on r and `tag`.
inline Matrix SampleRows(size_t rows, size_t d_model, float tag) {
  Matrix m(rows, d_model);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < d_model; ++c) m.row(r)[c] = tag + static_cast<float>(r * 7 + c) / 1024;
  }
  return m;
}

class TestRouter {
 public:
  TestRouter(const Clock& clock, std::unique_ptr<Transport> transport,
             const ExchangeConfig& config = {})
      : client_(config, clock, std::move(transport)) {}

  ExchangeClient& exchange() { return client_; }

  absl::StatusOr<CallId> Post(PeerId peer, const Matrix& rows,
                              const wire::FrameGeometry& geometry = SampleGeometry()) {
    auto slot = client_.Acquire(peer);
    if (!slot.ok()) return slot.status();
    const auto header =
        wire::WriteCall(geometry, {}, SamplePlan(rows.rows()), rows.view(), slot->frame);
    if (!header.ok()) return header.status();
    return client_.Post(*slot, *header);
  }

  // The next event, within ten seconds.
  std::optional<ExchangeEvent> Next(absl::Duration timeout = absl::Seconds(10)) {
    if (pending_.empty()) {
      std::vector<ExchangeEvent> events;
      client_.Wait(timeout, events);
      for (ExchangeEvent& event : events) pending_.push_back(std::move(event));
    }
    if (pending_.empty()) return std::nullopt;
    ExchangeEvent event = std::move(pending_.front());
    pending_.erase(pending_.begin());
    return event;
  }

  // Posts rows and expects them back.
  void ExpectEcho(PeerId peer, size_t rows, float tag) {
    const Matrix sent = SampleRows(rows, SampleGeometry().d_model, tag);
    const auto call = Post(peer, sent);
    ASSERT_TRUE(call.ok()) << call.status();
    const auto event = Next();
    ASSERT_TRUE(event.has_value()) << "no answer";
    ASSERT_EQ(event->kind, ExchangeEvent::Kind::kReply) << event->status;
    EXPECT_EQ(event->call, *call);
    ASSERT_EQ(event->reply.rows.rows, rows);
    for (size_t r = 0; r < rows; ++r) {
      const auto got = event->reply.rows.f32().row(r);
      ASSERT_TRUE(std::equal(got.begin(), got.end(), sent.row(r).begin())) << "row " << r;
    }
  }

 private:
  ExchangeClient client_;
  std::vector<ExchangeEvent> pending_;
};

}  // namespace tessera
