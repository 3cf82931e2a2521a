// Tools over gRPC, held against what REST makes of the same conversation.

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/json/json.h"
#include "services/gateway/gateway_server.h"
#include "tessera/v1/inference.grpc.pb.h"
#include "tests/support/raw_http.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using testing::Fetch;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RawPost;
using testing::RawReply;
using testing::StubRouter;

constexpr std::string_view kStory =
    "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n"
    "</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
constexpr std::string_view kWeather =
    R"({"type":"function","function":{"name":"weather","description":"of a city",)"
    R"("parameters":{"type":"object","properties":{"city":{"type":"string"}}}}})";
// Shows everything that a message may bear.
constexpr std::string_view kTemplate =
    "{{ tools | tojson if tools else 'no tools' }}{{ mood if mood is defined else '' }}"
    "{{ 'quiet' if enable_thinking is defined and not enable_thinking else '' }}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content if m.content else '' }}"
    "{{ '(' + m.reasoning_content + ')' if m.reasoning_content else '' }}"
    "{% for c in m.tool_calls or [] %}[{{ c.id }} {{ c.function.name }} "
    "{{ c.function.arguments | tojson }}]{% endfor %}"
    "{{ '#' + m.tool_call_id if m.tool_call_id else '' }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n";
constexpr std::string_view kNow =
    R"({"type":"function","function":{"name":"now","parameters":{}}})";

// What a stream said, put together.
struct Told {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  std::string details;
  std::string text;
  std::string finish;
  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
  };
  std::vector<Call> calls;
};

class ChatToolsTest : public ::testing::Test {
 protected:
  ChatToolsTest() : router_(testing::Storyteller(std::string(kStory))) {
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_.address()}, 2048);
    config.grpc_listen = "127.0.0.1:0";
    config.tool_parser = "hermes";
    config.text.chat_template_file = folder_.File("shows_all.jinja");
    testing::WriteFile(config.text.chat_template_file, kTemplate);
    server_ = *GatewayServer::Start(config, clock_);
    for (const auto& [name, address] : server_->Endpoints()) {
      if (name == "grpc") {
        stub_ = v1::Inference::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
      }
    }
    EXPECT_TRUE(testing::WaitUntil([this] { return server_->ReadinessReasons().empty(); }));
  }
  static v1::ChatRequest Ask() {
    v1::ChatRequest request;
    v1::ChatMessage& message = *request.add_messages();
    message.set_role("user");
    message.set_content("Weather?");
    request.add_tools_json(std::string(kWeather));
    request.add_tools_json(std::string(kNow));
    return request;
  }
  Told Chat(const v1::ChatRequest& request) {
    grpc::ClientContext context;
    const auto stream = stub_->Chat(&context, request);
    Told told;
    v1::GenerationReply reply;
    while (stream->Read(&reply)) {
      told.text += reply.text();
      told.finish += reply.finish_reason();
      for (const v1::ToolCallPart& part : reply.tool_calls()) {
        if (part.index() == told.calls.size())
          told.calls.push_back({part.id(), part.name(), ""});
        else
          EXPECT_EQ(part.id() + part.name(), "") << "only the first part names the call";
        if (part.index() + 1 != told.calls.size())
          ADD_FAILURE() << "calls come one by one";
        else
          told.calls.back().arguments += part.arguments();
      }
    }
    const grpc::Status status = stream->Finish();
    told.code = static_cast<absl::StatusCode>(status.error_code());
    told.message = status.error_message();
    told.details = status.error_details();
    return told;
  }
  RawReply Rest(std::string_view messages, std::string_view more = "") {
    const std::string body =
        absl::StrCat(R"({"messages":[{"role":"user","content":"Weather?"})", std::string(messages),
                     R"(],"tools":[)", std::string(kWeather), ",", std::string(kNow), "]",
                     std::string(more), "}");
    return Fetch(server_->http_port(), RawPost("/v1/chat/completions", body));
  }
  // The prompts of the last two requests.
  void ExpectSamePrompts() {
    const auto requests = router_.requests();
    ASSERT_GE(requests.size(), 2u);
    EXPECT_EQ(requests[requests.size() - 2].prompt, requests.back().prompt);
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  StubRouter router_;
  std::unique_ptr<GatewayServer> server_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

TEST_F(ChatToolsTest, CallsAreStreamedAsRestTellsThem) {
  const Told told = Chat(Ask());
  ASSERT_EQ(told.code, absl::StatusCode::kOk);
  const RawReply rest = Rest("");
  ExpectSamePrompts();
  const auto body = JsonDocument::Parse(rest.body);
  ASSERT_TRUE(body.ok()) << rest.body;
  const JsonValue choice = body->root().Find("choices")->at(0);
  EXPECT_EQ(told.text, *choice.Find("message")->Find("content")->AsString());
  EXPECT_EQ(told.finish, *choice.Find("finish_reason")->AsString());
  EXPECT_EQ(told.finish, "tool_calls");
  const JsonValue calls = *choice.Find("message")->Find("tool_calls");
  ASSERT_EQ(told.calls.size(), 2u);
  ASSERT_EQ(calls.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const JsonValue function = *calls.at(i).Find("function");
    EXPECT_EQ(told.calls[i].name, *function.Find("name")->AsString());
    EXPECT_EQ(told.calls[i].arguments, *function.Find("arguments")->AsString());
    EXPECT_THAT(told.calls[i].id, HasSubstr("call_"));
  }
  EXPECT_NE(told.calls[0].id, told.calls[1].id);
}

TEST_F(ChatToolsTest, ArgumentsComeAsTheyAreProduced) {
  router_.HoldAt(static_cast<uint32_t>(kStory.find("ern\"")));
  grpc::ClientContext context;
  const auto stream = stub_->Chat(&context, Ask());
  v1::GenerationReply reply;
  std::string arguments;
  while (arguments.empty() && stream->Read(&reply)) {
    for (const v1::ToolCallPart& part : reply.tool_calls()) arguments += part.arguments();
  }
  EXPECT_EQ(arguments, R"({"city": "B)");
  router_.Release();
  while (stream->Read(&reply)) {
    for (const v1::ToolCallPart& part : reply.tool_calls()) {
      if (part.index() == 0) arguments += part.arguments();
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(arguments, R"({"city": "Bern"})");
}

TEST_F(ChatToolsTest, CallsAndResultsGoBackAsOverRest) {
  v1::ChatRequest request = Ask();
  v1::ChatMessage& turn = *request.add_messages();
  turn.set_role("assistant");
  turn.set_reasoning("the city is Bern");
  v1::ToolCall& call = *turn.add_tool_calls();
  call.set_id("call_1");
  call.set_name("weather");
  call.set_arguments(R"({"city": "Bern"})");
  v1::ChatMessage& result = *request.add_messages();
  result.set_role("tool");
  result.set_tool_call_id("call_1");
  result.set_content("sunny");
  const Told told = Chat(request);
  ASSERT_EQ(told.code, absl::StatusCode::kOk) << told.message;
  const RawReply rest =
      Rest(R"(,{"role":"assistant","content":null,"reasoning":"the city is Bern","tool_calls":[)"
           R"({"id":"call_1","type":"function","function":{"name":"weather",)"
           R"("arguments":"{\"city\": \"Bern\"}"}}]},)"
           R"({"role":"tool","tool_call_id":"call_1","content":"sunny"})");
  ASSERT_EQ(rest.status, 200) << rest.body;
  ExpectSamePrompts();
  EXPECT_GT(router_.requests().back().prompt.size(), 40u);
}

TEST_F(ChatToolsTest, ToolChoiceMeansWhatItMeansThere) {
  v1::ChatRequest request = Ask();
  request.set_tool_choice("none");
  const Told told = Chat(request);
  EXPECT_EQ(told.text, kStory);
  EXPECT_EQ(told.finish, "stop");
  EXPECT_TRUE(told.calls.empty());
  EXPECT_THAT(Rest("", R"(,"tool_choice":"none")").body, Not(HasSubstr("tool_calls")));
  ExpectSamePrompts();
  request.set_tool_choice("auto");
  request.set_parallel_tool_calls(false);
  EXPECT_EQ(Chat(request).calls.size(), 1u);
  for (const char* forced : {"required", "weather"}) {
    request.set_tool_choice(forced);
    const Told refused = Chat(request);
    EXPECT_EQ(refused.code, absl::StatusCode::kInvalidArgument) << forced;
    EXPECT_THAT(refused.details, HasSubstr("unsupported"));
    EXPECT_THAT(refused.details, HasSubstr("tool_choice"));
  }
}

TEST_F(ChatToolsTest, TheTemplatesVariablesComeAlong) {
  v1::ChatRequest request = Ask();
  request.set_reasoning_effort("none");
  request.set_chat_template_kwargs_json(R"({"mood": "kind"})");
  ASSERT_EQ(Chat(request).code, absl::StatusCode::kOk);
  EXPECT_EQ(Rest("", R"(,"reasoning_effort":"none","chat_template_kwargs":{"mood":"kind"})").status,
            200);
  ExpectSamePrompts();
}

TEST_F(ChatToolsTest, WhatIsNoObjectOfJsonIsRefusedByName) {
  const auto param_of = [this](v1::ChatRequest request) {
    const Told told = Chat(request);
    EXPECT_EQ(told.code, absl::StatusCode::kInvalidArgument);
    return told.details;
  };
  for (const char* tool : {"{", "3", "", R"({}],"max_tokens":1,"x":[{})"}) {
    v1::ChatRequest request = Ask();
    request.set_tools_json(1, tool);
    EXPECT_THAT(param_of(request), HasSubstr("tools_json[1]")) << tool;
  }
  v1::ChatRequest request = Ask();
  request.set_chat_template_kwargs_json("[]");
  EXPECT_THAT(param_of(request), HasSubstr("chat_template_kwargs_json"));
  // What is one, and no tool, REST's reader refuses.
  request = Ask();
  request.set_tools_json(0, R"({"type":"function"})");
  EXPECT_THAT(param_of(request), HasSubstr("tools[0].function"));
  request = Ask();
  request.add_messages()->set_role("tool");
  EXPECT_THAT(param_of(request), HasSubstr("messages[1].tool_call_id"));
  EXPECT_TRUE(router_.requests().empty());
}

}  // namespace
}  // namespace tessera::gateway
