#include "services/cli/chat/chat_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "services/cli/chat/chat_session.h"
#include "services/gateway/gateway_server.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera::cli {
namespace {

using ::tessera::testing::StubRouter;
using ::tessera::testing::TempFolder;
using ::testing::HasSubstr;
using ::testing::Not;

// A gateway before a router that says one thing, and the command before it.
class ChatCommandTest : public ::testing::Test {
 protected:
  void Start(const std::string& answer) {
    router_ = std::make_unique<StubRouter>(testing::Storyteller(answer));
    gateway::GatewayConfig config =
        testing::TinyGateway(folder_.path(), {router_->address()}, /*context_max=*/4096);
    config.reasoning_parser = "deepseek_r1";
    config.tool_parser = "hermes";
    auto server = gateway::GatewayServer::Start(config, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(testing::WaitUntil([this] { return server_->ReadinessReasons().empty(); }));
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", server_->http_port()); }
  int Chat(const std::string& input, std::vector<std::string> flags = {}) {
    if (server_ != nullptr) flags.push_back("--address=" + address());
    const std::vector<std::string_view> args(flags.begin(), flags.end());
    std::istringstream in(input);
    out_.str("");
    err_.str("");
    return RunChat(args, {.in = in, .out = out_, .err = err_});
  }
  // As a person at a terminal would have it.
  absl::Status Talk(const std::string& input) {
    const auto client = HttpClient::For(address(), {});
    EXPECT_TRUE(client.ok());
    const ChatSessionConfig config = {.is_interactive = true, .uses_color = true};
    std::istringstream in(input);
    out_.str("");
    err_.str("");
    return ChatSession(config, *client, in, out_, err_).Run();
  }
  // The prompt of request `index` as text.
  std::string PromptOf(size_t index) const {
    std::string text;
    const wire::GenerationParams asked = router_->requests()[index];
    for (const TokenId id : asked.prompt) {
      if (id >= testing::kTinyFirstByte) {
        text.push_back(static_cast<char>(id - testing::kTinyFirstByte));
      } else if (id == testing::kTinyStart) {
        text += "<s>";
      } else if (id == testing::kTinyEos) {
        text += "<e>";
      }
    }
    return text;
  }

  const TempFolder folder_;
  RealClock clock_;
  std::unique_ptr<StubRouter> router_;
  std::unique_ptr<gateway::GatewayServer> server_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ChatCommandTest, ALineIsAPromptAndTheConversationIsKept) {
  Start("hm</think>Fine.");
  EXPECT_EQ(Chat("How are you?\n\nAnd \"now\"?\n", {"--system=Be short."}), 0) << err_.str();
  EXPECT_EQ(out_.str(), "Fine.\nFine.\n");
  ASSERT_EQ(router_->requests().size(), 2u);
  EXPECT_EQ(PromptOf(1),
            "<s>system\nBe short.<e>\n<s>user\nHow are you?<e>\n<s>assistant\nFine.<e>\n"
            "<s>user\nAnd \"now\"?<e>\n<s>assistant\n");
}

TEST_F(ChatCommandTest, ResetForgetsAndQuitEnds) {
  Start("x</think>ok");
  EXPECT_EQ(Chat("one\n/reset\ntwo\n/quit\nthree\n", {"--max_tokens=50", "--temperature=0"}), 0);
  ASSERT_EQ(router_->requests().size(), 2u);
  EXPECT_EQ(PromptOf(1), "<s>user\ntwo<e>\n<s>assistant\n");
  EXPECT_EQ(router_->requests()[1].tokens_max, 50u);
  EXPECT_FLOAT_EQ(router_->requests()[1].sampling.temperature, 0);
}

TEST_F(ChatCommandTest, AtATerminalReasoningIsDimmedAndControlsAreHarmless) {
  Start("let me\x1b[31m see</think>Red\x1b[2J or not\x07.");
  EXPECT_TRUE(Talk("Hi\n/what\n").ok());
  EXPECT_THAT(out_.str(), HasSubstr("> \x1b[2mlet me[31m see\n\x1b[0mRed[2J or not.\n"));
  EXPECT_THAT(out_.str(), HasSubstr("/reset  forget"));
  EXPECT_EQ(PlainText("a\xC2\x9B"
                      "b\xC2\xA9\x7F"),
            "ab\xC2\xA9");
}

TEST_F(ChatCommandTest, ToolCallsAreShownAndTheNextLineIsTheirResult) {
  Start(
      "</think><tool_call>\n{\"name\": \"now\", \"arguments\": {\"zone\": \"UTC\"}}\n</tool_call>");
  testing::WriteFile(folder_.File("tools.json"),
                     R"([{"type":"function","function":{"name":"now","parameters":{}}}])");
  EXPECT_EQ(Chat("What time?\nnoon\n", {"--tools_file=" + folder_.File("tools.json")}), 0)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("[call] now({\"zone\": \"UTC\"})"));
  ASSERT_EQ(router_->requests().size(), 2u);
  EXPECT_THAT(PromptOf(1), HasSubstr("<s>tool\nnoon<e>"));
  testing::WriteFile(folder_.File("tools.json"), "{}");
  EXPECT_EQ(Chat("x\n", {"--tools_file=" + folder_.File("tools.json")}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("an array of tools"));
}

TEST_F(ChatCommandTest, ErrorsOfTheGatewayAreTold) {
  Start("ok");
  EXPECT_EQ(Chat("x\n", {"--model=other"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("other"));
  EXPECT_EQ(Chat(std::string(20000, 'x') + "\nnever sent\n"), 2);
  EXPECT_THAT(err_.str(), HasSubstr("context is 4096 tokens"));
  EXPECT_TRUE(router_->requests().empty());
  // A person goes on.
  EXPECT_TRUE(Talk(std::string(20000, 'x') + "\nHi\n").ok());
  EXPECT_THAT(err_.str(), HasSubstr("context is 4096 tokens"));
  ASSERT_EQ(router_->requests().size(), 1u);
  EXPECT_EQ(PromptOf(0), "<s>user\nHi<e>\n<s>assistant\n");
}

TEST_F(ChatCommandTest, WithoutAClusterItSaysWhatToDo) {
  EXPECT_EQ(Chat("x\n", {"--state_dir=" + folder_.File("nowhere")}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("tessera up"));
  testing::WriteFile(folder_.File("cluster.json"), R"({"processes":[]})");
  EXPECT_EQ(Chat("x\n", {"--state_dir=" + folder_.path()}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("names no gateway"));
  EXPECT_EQ(Chat("x\n", {"--address=nohost"}), 2);
}

TEST_F(ChatCommandTest, FindsTheGatewayInTheStateFolder) {
  Start("x</think>ok");
  testing::WriteFile(
      folder_.File("cluster.json"),
      absl::StrCat(R"({"processes":[{"role":"gateway","id":"gateway-0","pid":1,"http":")",
                   address(), R"("}]})"));
  std::istringstream in("Hi\n");
  const std::string flag = "--state_dir=" + folder_.path();
  const std::vector<std::string_view> args = {flag};
  EXPECT_EQ(RunChat(args, {.in = in, .out = out_, .err = err_}), 0) << err_.str();
  EXPECT_EQ(out_.str(), "ok\n");
}

TEST(ChatStreamTest, PiecesOfAnySizeAndErrors) {
  const std::string bytes =
      ": ping\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\\u00e9\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"
      "data: [DONE]\n\n";
  std::string content;
  ChatStream stream({.reasoning = [](std::string_view) {},
                     .content = [&](std::string_view text) { content += text; }});
  for (const char byte : bytes) ASSERT_TRUE(stream.Push(std::string(1, byte)).ok());
  EXPECT_TRUE(stream.is_done());
  EXPECT_EQ(content, "a\xC3\xA9");
  EXPECT_EQ(stream.answer().finish_reason, "length");
  EXPECT_EQ(stream.answer().completion_tokens, 2);
  const absl::Status error = stream.Push(
      "data: {\"error\":{\"message\":\"too late\",\"type\":\"timeout_error\",\"code\":null}}\n");
  EXPECT_EQ(error, absl::DeadlineExceededError("too late"));
  EXPECT_EQ(stream.Push("data: nonsense\n").code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tessera::cli
