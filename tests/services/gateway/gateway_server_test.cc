#include "services/gateway/gateway_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/clock.h"
#include "common/json/json.h"
#include "services/gateway/keys/key_set.h"
#include "tests/support/raw_http.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::Fetch;
using ::tessera::testing::RawConnection;
using ::tessera::testing::RawGet;
using ::tessera::testing::RawPost;
using ::tessera::testing::RawReply;
using ::tessera::testing::StubRouter;
using ::tessera::testing::StubRouterOptions;
using ::tessera::testing::TempFolder;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kStory = "Once upon a time there was a small model.";

// Routers say the story and stop.
StubRouterOptions Storyteller(std::string story = std::string(kStory)) {
  return testing::Storyteller(std::move(story));
}

class GatewayServerTest : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& routers) {
    config_.pool.addresses = routers;
    config_.grpc_listen = "127.0.0.1:0";
    config_.admin_listen = "127.0.0.1:0";
    auto server = GatewayServer::Start(config_, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void AwaitReady() {
    ASSERT_TRUE(testing::WaitUntil([this] {
      return Fetch(port(), RawGet("/readyz")).status == 200;
    })) << "never ready";
  }
  int port() const { return server_->http_port(); }
  RawReply Post(std::string_view path, std::string_view body, std::string_view headers = {}) {
    return Fetch(port(), RawPost(path, body, headers));
  }
  static std::string Chat(std::string_view more = "") {
    return absl::StrCat(R"({"model":"tiny","messages":[{"role":"user","content":"Hi"}])",
                        std::string(more), "}");
  }
  // What the deltas of a stream say.
  static std::string ContentOf(const std::string& body) {
    std::string content;
    for (size_t at = 0; (at = body.find("data: {", at)) != std::string::npos;) {
      const size_t end = body.find("\n\n", at);
      const auto chunk = JsonDocument::Parse(body.substr(at + 6, end - at - 6));
      EXPECT_TRUE(chunk.ok()) << chunk.status();
      at = end;
      if (!chunk.ok() || !chunk->root().Find("choices").has_value()) continue;
      for (const JsonValue choice : chunk->root().Find("choices")->elements()) {
        const auto text = choice.Find("delta")->Find("content");
        if (text.has_value() && text->is_string()) content += *text->AsString();
      }
    }
    return content;
  }

  const TempFolder folder_;
  RealClock clock_;
  GatewayConfig config_ = testing::TinyGateway(folder_.path(), {}, /*context_max=*/4096);
  std::unique_ptr<GatewayServer> server_;
};

TEST_F(GatewayServerTest, Chats) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  const RawReply reply = Post("/v1/chat/completions", Chat(R"(,"seed":7)"));
  EXPECT_EQ(reply.status, 200) << reply.body;
  const auto body = JsonDocument::Parse(reply.body);
  ASSERT_TRUE(body.ok()) << reply.body;
  const JsonValue choice = body->root().Find("choices")->at(0);
  EXPECT_EQ(*choice.Find("message")->Find("content")->AsString(), kStory);
  EXPECT_EQ(*choice.Find("finish_reason")->AsString(), "stop");
  EXPECT_EQ(*body->root().Find("usage")->Find("completion_tokens")->AsInteger(),
            static_cast<int64_t>(kStory.size() + 1));
  const wire::GenerationParams asked = router.requests()[0];
  EXPECT_EQ(asked.sampling.seed, 7u);
  EXPECT_FLOAT_EQ(asked.sampling.temperature, 0.7f);
  EXPECT_FLOAT_EQ(asked.sampling.top_p, 0.9f);
  EXPECT_EQ(asked.prompt.front(), testing::kTinyStart);  // the template writes no begin-of-text
  EXPECT_EQ(asked.tokens_max, 4096u - asked.prompt.size());
}

TEST_F(GatewayServerTest, Streams) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  const RawReply reply = Post("/v1/chat/completions",
                              Chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.Header("content-type"), HasSubstr("text/event-stream"));
  EXPECT_EQ(ContentOf(reply.body), kStory);
  EXPECT_THAT(reply.body, HasSubstr(R"("finish_reason":"stop")"));
  EXPECT_THAT(reply.body, HasSubstr(R"("completion_tokens":42)"));
  EXPECT_THAT(reply.body, HasSubstr("data: [DONE]\n\n"));
}

TEST_F(GatewayServerTest, StopStringsReachOverTokensAndEndTheRouter) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  router.HoldAt(20);
  const RawReply reply = Post("/v1/chat/completions", Chat(R"(,"stop":["a time"])"));
  EXPECT_THAT(reply.body, HasSubstr(R"("content":"Once upon ")"));
  EXPECT_THAT(reply.body, HasSubstr(R"("finish_reason":"stop")"));
  EXPECT_TRUE(router.AwaitCancels(1));
}

TEST_F(GatewayServerTest, ManyChoices) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  const RawReply reply =
      Post("/v1/completions", R"({"model":"tiny","prompt":["a",[20,21]],"n":2,"max_tokens":4})");
  const auto body = JsonDocument::Parse(reply.body);
  ASSERT_TRUE(body.ok()) << reply.body;
  ASSERT_EQ(body->root().Find("choices")->size(), 4u) << reply.body;
  EXPECT_EQ(*body->root().Find("choices")->at(3).Find("text")->AsString(), "Once");
  EXPECT_EQ(*body->root().Find("choices")->at(3).Find("finish_reason")->AsString(), "length");
  EXPECT_EQ(*body->root().Find("usage")->Find("prompt_tokens")->AsInteger(), 4);
  EXPECT_EQ(*body->root().Find("usage")->Find("completion_tokens")->AsInteger(), 16);
}

TEST_F(GatewayServerTest, AStreamOutlivesItsRouter) {
  StubRouter router(Storyteller());
  router.HoldAt(11);
  Start({router.address()});
  AwaitReady();
  RawConnection client(port());
  ASSERT_TRUE(client.Send(RawPost("/v1/chat/completions", Chat(R"(,"stream":true)"))));
  const auto first = client.ReadUntil("upon");
  ASSERT_TRUE(first.has_value());
  router.Die();
  router.Release();
  router.Revive();
  const auto rest = client.ReadUntil("data: [DONE]\n\n");
  ASSERT_TRUE(rest.has_value());
  std::string all = *first + *rest;
  // Chunk sizes stand between the events; nothing of them is content.
  EXPECT_THAT(all, HasSubstr(R"("finish_reason":"stop")"));
  ASSERT_EQ(router.requests().size(), 2u);
  EXPECT_EQ(router.requests()[1].produced.size(), 11u);
}

TEST_F(GatewayServerTest, AClientThatLeavesEndsItsRequest) {
  StubRouter router(Storyteller());
  router.HoldAt(3);
  Start({router.address()});
  AwaitReady();
  {
    RawConnection client(port());
    ASSERT_TRUE(client.Send(RawPost("/v1/chat/completions", Chat(R"(,"stream":true)"))));
    ASSERT_TRUE(client.ReadUntil("Onc").has_value());
  }
  EXPECT_TRUE(router.AwaitCancels(1));
  {
    RawConnection client(port());
    ASSERT_TRUE(client.Send(RawPost("/v1/chat/completions", Chat())));
    ASSERT_TRUE(router.AwaitRequests(2));
  }
  EXPECT_TRUE(router.AwaitCancels(2));
  EXPECT_THAT(Fetch(port(), RawGet("/metrics")).body,
              HasSubstr("tessera_request_aborts_total{cause=\"client\",model_name=\"tiny\"} 2"));
}

TEST_F(GatewayServerTest, TellsWhatIsWrong) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  const auto expect = [this](std::string_view body, int status, std::string_view part) {
    const RawReply reply = Post("/v1/chat/completions", body);
    EXPECT_EQ(reply.status, status) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(std::string(part)));
    const auto parsed = JsonDocument::Parse(reply.body);
    ASSERT_TRUE(parsed.ok()) << reply.body;
    for (const char* key : {"message", "type", "param", "code"}) {
      EXPECT_TRUE(parsed->root().Find("error")->Find(key).has_value()) << key;
    }
  };
  expect("{}", 400, "error");
  expect("", 400, "invalid_json");
  expect(std::string(100'000, '['), 400, "invalid_json");
  expect("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"\xFF\"}]}", 400,
         "invalid_json");
  expect(R"({"model":"other","messages":[{"role":"user","content":"Hi"}]})", 404,
         "model_not_found");
  expect(absl::StrCat(R"({"model":"tiny","messages":[{"role":"user","content":")",
                      std::string(2 << 20, 'x'), "\"}]}"),
         400, "context_length_exceeded");
  expect(Chat(R"(,"max_tokens":5000)"), 400, "context_length_exceeded");
  expect(Chat(R"(,"response_format":{"type":"json_object"})"), 400, "unsupported");
  expect(Chat(R"(,"temperature":3)"), 400, "temperature");
  EXPECT_EQ(router.requests().size(), 0u);
}

TEST_F(GatewayServerTest, WhatTheTemplateRefusesIsTheClientsToMend) {
  StubRouter router(Storyteller());
  config_.text.chat_template_file = folder_.File("template.jinja");
  std::ofstream(config_.text.chat_template_file)
      << "{% for m in messages %}{% if m.role == 'system' %}"
         "{{ raise_exception('no system messages, please') }}{% endif %}"
         "{{ m.content }}{{ missing.part }}{% endfor %}";
  Start({router.address()});
  AwaitReady();
  const auto expect = [this](std::string_view path, std::string_view body, std::string_view part) {
    const RawReply reply = Post(path, body);
    EXPECT_EQ(reply.status, 400) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(std::string(part)));
    EXPECT_THAT(reply.body, HasSubstr("invalid_request_error"));
  };
  const std::string system = R"({"messages":[{"role":"system","content":"x"}]})";
  expect("/v1/chat/completions", system, "line 1: no system messages, please");
  expect("/v1/chat/completions", system, R"("param":"messages")");
  expect("/v1/chat/completions", Chat(R"(,"stream":true)"), "line 1: 'missing' is undefined");
  expect("/v1/responses", R"({"input":"x","instructions":"y"})", R"("param":"input")");
  expect("/v1/messages",
         R"({"max_tokens":3,"system":"x","messages":[{"role":"user","content":"y"}]})",
         "no system messages");
  expect("/tokenize", system, "no system messages");
  EXPECT_EQ(router.requests().size(), 0u);
}

TEST_F(GatewayServerTest, WithoutAModelTheServedOneIsMeant) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  const std::string message = R"([{"role":"user","content":"Hi"}])";
  for (const auto& [path, body] : std::vector<std::pair<std::string, std::string>>{
           {"/v1/chat/completions", R"({"messages":)" + message + "}"},
           {"/v1/completions", R"({"model":null,"prompt":"Hi"})"},
           {"/v1/messages", R"({"model":"","max_tokens":9,"messages":)" + message + "}"},
           {"/v1/responses", R"({"input":"Hi"})"}}) {
    const RawReply reply = Post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_THAT(reply.body, HasSubstr(R"("model":"tiny")"));
  }
  EXPECT_EQ(Fetch(port(), RawGet("/v1/models/")).status, 404);
}

TEST_F(GatewayServerTest, RoutesAndTheirErrors) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  EXPECT_EQ(Fetch(port(), RawGet("/livez")).status, 200);
  EXPECT_EQ(Fetch(port(), RawGet("/health")).status, 200);
  EXPECT_THAT(Fetch(port(), RawGet("/version")).body, HasSubstr(R"("version":"0")"));
  EXPECT_THAT(Fetch(port(), RawGet("/v1/models")).body, HasSubstr(R"("max_model_len":4096)"));
  EXPECT_EQ(Fetch(port(), RawGet("/v1/models/tiny")).status, 200);
  EXPECT_THAT(Fetch(port(), RawGet("/v1/models/a%2Fb")).body, HasSubstr("model_not_found"));
  const RawReply unknown = Fetch(port(), RawGet("/nowhere"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("unknown_url"));
  const RawReply method = Fetch(port(), RawGet("/v1/chat/completions"));
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.Header("allow"), "post");
  EXPECT_EQ(Fetch(port(),
                  "POST /tokenize HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\n"
                  "Content-Length: 2\r\n\r\n{}")
                .status,
            415);
  EXPECT_THAT(Post("/tokenize", R"({"prompt":"ab"})").body, HasSubstr("[0,113,114]"));
  EXPECT_THAT(Post("/detokenize", R"({"tokens":[113,114]})").body, HasSubstr("ab"));
  EXPECT_THAT(
      Post("/v1/messages",
           R"({"model":"tiny","max_tokens":100,"messages":[{"role":"user","content":"Hi"}]})")
          .body,
      HasSubstr(R"("stop_reason":"end_turn")"));
  EXPECT_THAT(Post("/v1/responses", R"({"model":"tiny","input":"Hi"})").body,
              HasSubstr(std::string(kStory)));
}

TEST_F(GatewayServerTest, ToolCallsAndTheirEnd) {
  StubRouter router(
      Storyteller("Let me see.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {\"zone\": "
                  "\"UTC\"}}\n</tool_call>"));
  Start({router.address()});
  AwaitReady();
  const RawReply reply =
      Post("/v1/chat/completions",
           Chat(R"(,"tools":[{"type":"function","function":{"name":"now","parameters":{}}}])"));
  EXPECT_THAT(reply.body, HasSubstr(R"("finish_reason":"tool_calls")"));
  EXPECT_THAT(reply.body, HasSubstr(R"("name":"now")"));
}

TEST_F(GatewayServerTest, AFullRouterMakesRequestsWaitAndAFullQueueRefuses) {
  StubRouterOptions options = Storyteller();
  options.tokens_free = 60;
  StubRouter router(options);
  router.HoldAt(1);
  config_.admission.requests_max = 1;
  Start({router.address()});
  AwaitReady();
  RawConnection first(port());
  ASSERT_TRUE(first.Send(RawPost("/v1/chat/completions", Chat(R"(,"max_tokens":20)"))));
  ASSERT_TRUE(router.AwaitRequests(1));
  RawConnection second(port());
  ASSERT_TRUE(second.Send(RawPost("/v1/chat/completions", Chat(R"(,"max_tokens":20)"))));
  RawReply third;
  do {
    third = Post("/v1/chat/completions", Chat(R"(,"max_tokens":20)"));
  } while (third.status == 0);
  EXPECT_EQ(third.status, 429) << third.body;
  EXPECT_THAT(third.body, HasSubstr("queue_full"));
  EXPECT_NE(third.Header("retry-after"), "");
  // Each is counted where it is, at the router or in the queue, as vLLM does.
  const auto counted = [this](int running, int waiting) {
    const std::string page = Fetch(port(), RawGet("/metrics")).body;
    const auto has = [&page](const char* name, int value) {
      const std::string line = absl::StrCat(name, "{model_name=\"tiny\"} ", value, "\n");
      return page.find(line) != std::string::npos;
    };
    return has("tessera_num_requests_running", running) &&
           has("tessera_num_requests_waiting", waiting);
  };
  EXPECT_TRUE(counted(1, 1));
  router.Release();
  EXPECT_EQ(first.ReadReply().status, 200);
  router.Announce(1000);
  EXPECT_EQ(second.ReadReply().status, 200);
  EXPECT_TRUE(testing::WaitUntil([&counted] { return counted(0, 0); }));
}

TEST_F(GatewayServerTest, WithoutARouterItSaysSo) {
  StubRouter router;
  router.Die();
  Start({router.address()});
  EXPECT_EQ(Fetch(port(), RawGet("/livez")).status, 200);
  EXPECT_EQ(Fetch(port(), RawGet("/readyz")).status, 503);
  EXPECT_EQ(Fetch(port(), RawGet("/startupz")).status, 503);
  const RawReply reply = Post("/v1/chat/completions", Chat());
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.Header("retry-after"), "");
}

TEST_F(GatewayServerTest, KeysOpenRoutes) {
  testing::WriteFile(folder_.File("keys.json"),
                     absl::StrCat(R"({"keys":[{"name":"a","sha256":")",
                                  [] {
                                    std::string hex;
                                    for (const unsigned char byte : Sha256("secret-a")) {
                                      absl::StrAppend(&hex, absl::Hex(byte, absl::kZeroPad2));
                                    }
                                    return hex;
                                  }(),
                                  R"("}]})"));
  config_.keys_file = folder_.File("keys.json");
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  EXPECT_EQ(Post("/v1/chat/completions", Chat()).status, 401);
  EXPECT_EQ(Post("/v1/chat/completions", Chat(), "Authorization: Bearer nope\r\n").status, 401);
  EXPECT_EQ(Post("/v1/chat/completions", Chat(), "Authorization: Bearer secret-a\r\n").status, 200);
  EXPECT_EQ(Fetch(port(), RawGet("/metrics")).status, 401);
  EXPECT_EQ(Fetch(port(), RawGet("/livez")).status, 200);
  EXPECT_EQ(Fetch(port(), RawGet("/")).status, 200);
}

TEST_F(GatewayServerTest, ServesItsPage) {
  StubRouter router(Storyteller());
  Start({router.address()});
  const RawReply page = Fetch(port(), RawGet("/"));
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.Header("content-type"), HasSubstr("text/html"));
  EXPECT_THAT(page.Header("content-security-policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(page.body, HasSubstr("web/app.js"));
  const RawReply script = Fetch(port(), RawGet("/web/app.js"));
  EXPECT_EQ(script.status, 200);
  EXPECT_THAT(script.Header("content-type"), HasSubstr("text/javascript"));
  const RawReply known =
      Fetch(port(), RawGet("/", absl::StrCat("If-None-Match: ", page.Header("etag"), "\r\n")));
  EXPECT_EQ(known.status, 304);
  EXPECT_EQ(known.Header("content-length"), "");
  const RawReply posted = Post("/", "{}");
  EXPECT_EQ(posted.status, 405);
  EXPECT_EQ(posted.Header("allow"), "get");
  for (const char* path : {"/web/none.js", "/index.html", "/webpage"}) {
    const RawReply none = Fetch(port(), RawGet(path));
    EXPECT_EQ(none.status, 404) << path;
    EXPECT_THAT(none.body, HasSubstr(R"("code":"unknown_url")")) << path;
  }
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"));
  const auto head = connection.ReadUntil("\r\n\r\n");
  ASSERT_TRUE(head.has_value());
  EXPECT_THAT(*head, HasSubstr("HTTP/1.1 200 OK"));
  EXPECT_THAT(*head, HasSubstr(absl::StrCat("content-length: ", page.body.size())));
  ASSERT_TRUE(connection.Send(RawGet("/livez")));
  EXPECT_EQ(connection.ReadReply().body, "ok\n");  // nothing of the page stood in between
}

TEST_F(GatewayServerTest, StartedStaysStarted) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  EXPECT_EQ(Fetch(port(), RawGet("/startupz")).status, 200);
  router.Die();
  RawReply ready;
  do {
    ready = Fetch(port(), RawGet("/readyz"));
  } while (ready.status == 200);
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(Fetch(port(), RawGet("/startupz")).status, 200);
}

TEST_F(GatewayServerTest, HeadersLimitTheTime) {
  StubRouter router(Storyteller());
  router.HoldAt(3);
  Start({router.address()});
  AwaitReady();
  const RawReply late =
      Post("/v1/chat/completions", Chat(), "X-Request-Timeout: 0.05\r\nX-Request-Id: late-1\r\n");
  EXPECT_EQ(late.status, 504) << late.body;
  EXPECT_THAT(late.body, HasSubstr("deadline_exceeded"));
  EXPECT_EQ(late.Header("x-request-id"), "late-1");
  EXPECT_TRUE(router.AwaitCancels(1));
  EXPECT_EQ(Post("/v1/chat/completions", Chat(), "X-Request-Timeout: soon\r\n").status, 400);
  router.Release();
  EXPECT_EQ(Post("/v1/chat/completions", Chat(), "X-Request-Timeout: 60\r\n").status, 200);
}

TEST_F(GatewayServerTest, RepliesTellTheirTimes) {
  StubRouter router(Storyteller());
  Start({router.address()});
  AwaitReady();
  const RawReply reply = Post("/v1/chat/completions", Chat());
  EXPECT_THAT(reply.Header("server-timing"), HasSubstr("ttft;dur="));
  EXPECT_THAT(reply.Header("server-timing"), HasSubstr("queue;dur="));
  EXPECT_THAT(reply.body, HasSubstr(R"("timings":{"queue_ms":)"));
  EXPECT_THAT(Post("/v1/completions", R"({"prompt":"Hi"})").body, HasSubstr(R"("ttft_ms":)"));
  const RawReply stream = Post("/v1/chat/completions",
                               Chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_THAT(stream.body, HasSubstr(R"("ttft_ms":)"));
  EXPECT_THAT(Post("/v1/chat/completions", Chat(R"(,"stream":true)")).body,
              Not(HasSubstr("timings")));
  EXPECT_THAT(Fetch(port(), RawGet("/metrics")).body,
              HasSubstr("tessera_request_queue_time_seconds_count{model_name=\"tiny\"} 4"));
}

TEST_F(GatewayServerTest, HundredsOfStreams) {
  StubRouter router(Storyteller());
  router.HoldAt(5);
  Start({router.address()});
  AwaitReady();
  std::vector<std::unique_ptr<RawConnection>> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(std::make_unique<RawConnection>(port()));
    ASSERT_TRUE(clients.back()->Send(RawPost("/v1/chat/completions", Chat(R"(,"stream":true)"))));
  }
  ASSERT_TRUE(router.AwaitRequests(300));
  router.Release();
  for (const auto& client : clients) {
    const RawReply reply = client->ReadReply();
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(ContentOf(reply.body), kStory);
  }
}

TEST_F(GatewayServerTest, StopLetsStreamsFinish) {
  StubRouter router(Storyteller());
  router.HoldAt(5);
  config_.drain = absl::Seconds(20);
  Start({router.address()});
  AwaitReady();
  RawConnection client(port());
  ASSERT_TRUE(client.Send(RawPost("/v1/chat/completions", Chat(R"(,"stream":true)"))));
  ASSERT_TRUE(client.ReadUntil("Once").has_value());
  router.Release();
  server_->Stop();
  EXPECT_TRUE(client.ReadUntil("data: [DONE]\n\n").has_value());
}

}  // namespace
}  // namespace tessera::gateway
