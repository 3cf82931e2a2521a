#include "common/concurrency/gate.h"

#include <optional>
#include <utility>

#include "common/concurrency/thread.h"
#include "gtest/gtest.h"

namespace tessera {
namespace {

TEST(Gate, CountsPassesThroughMoves) {
  Gate gate;
  {
    std::optional<Gate::Pass> a = gate.TryEnter();
    std::optional<Gate::Pass> b = gate.TryEnter();
    ASSERT_TRUE(a.has_value() && b.has_value());
    EXPECT_EQ(gate.count(), 2u);
    Gate::Pass moved = *std::move(a);
    EXPECT_EQ(gate.count(), 2u);
    b.reset();
    EXPECT_EQ(gate.count(), 1u);
  }
  EXPECT_EQ(gate.count(), 0u);
}

TEST(Gate, AClosedGateRefuses) {
  Gate gate;
  gate.Close();
  EXPECT_TRUE(gate.closed());
  EXPECT_FALSE(gate.TryEnter().has_value());
}

TEST(Gate, CloseTellsThatWorkIsLeft) {
  Gate gate;
  std::optional<Gate::Pass> pass = gate.TryEnter();
  EXPECT_FALSE(gate.CloseFor(absl::ZeroDuration()));
  EXPECT_FALSE(gate.TryEnter().has_value());
  pass.reset();
  EXPECT_TRUE(gate.CloseFor(absl::ZeroDuration()));
}

TEST(Gate, CloseWaitsForTheWork) {
  Gate gate;
  int result = 0;
  std::optional<Gate::Pass> pass = gate.TryEnter();
  Thread worker("worker", [&, pass = std::make_shared<Gate::Pass>(*std::move(pass))](
                              std::stop_token) mutable {
    while (!gate.closed()) std::this_thread::yield();
    result = 42;  // visible to whoever comes back from Close
    pass.reset();
  });
  pass.reset();
  gate.Close();
  EXPECT_EQ(result, 42);
}

}  // namespace
}  // namespace tessera
