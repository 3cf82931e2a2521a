#include "services/router/loop/load_board.h"

#include <gtest/gtest.h>

namespace tessera::router {
namespace {

TEST(LoadBoardTest, TellsOfChangesThatMatter) {
  LoadBoard board;
  int calls = 0;
  bool alive = true;
  board.Listen([&] {
    ++calls;
    return alive;
  });
  board.Write({.tokens_free = 1000});
  EXPECT_EQ(calls, 1);
  board.Write({.tokens_free = 999});
  EXPECT_EQ(calls, 1) << "a token more or less";
  EXPECT_EQ(board.Read().tokens_free, 999u);
  board.Write({.tokens_free = 900});
  EXPECT_EQ(calls, 2);
  board.Write({.tokens_free = 900, .sequences_running = 1});
  EXPECT_EQ(calls, 3);
  board.SetNotReady({"no experts"});
  EXPECT_EQ(calls, 4);
  board.SetNotReady({"no experts"});
  board.Write({.tokens_free = 900, .sequences_running = 1});
  EXPECT_EQ(calls, 4) << "no news";
  EXPECT_EQ(board.Read().not_ready, std::vector<std::string>{"no experts"});
  board.SetNotReady({});
  EXPECT_EQ(calls, 5);
  EXPECT_TRUE(board.Read().not_ready.empty());
  board.SetDraining();
  EXPECT_EQ(calls, 6);
  board.Write({.tokens_free = 900, .sequences_running = 1});
  EXPECT_TRUE(board.Read().draining) << "for good";
  EXPECT_EQ(calls, 6);
  alive = false;
  board.Write({});
  board.Write({.tokens_free = 5});
  EXPECT_EQ(calls, 7) << "a listener that wants no more calls gets none";
}

}  // namespace
}  // namespace tessera::router
