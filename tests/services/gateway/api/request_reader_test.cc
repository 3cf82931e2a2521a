#include "services/gateway/api/request_reader.h"

#include <gtest/gtest.h>

#include "services/gateway/api/api_error.h"
#include "tests/services/gateway/api/bad_bodies.h"

namespace tessera::gateway {
namespace {

constexpr ApiDialect kDialects[] = {ApiDialect::kChat, ApiDialect::kCompletion,
                                    ApiDialect::kMessages, ApiDialect::kResponses};

GenerationRequest Read(ApiDialect dialect, std::string_view body) {
  absl::StatusOr<GenerationRequest> request = ReadGenerationRequest(dialect, body, {});
  EXPECT_TRUE(request.ok()) << request.status() << "\n" << body;
  return request.ok() ? *std::move(request) : GenerationRequest();
}

std::string Json(const TemplateValue& value) {
  const absl::StatusOr<std::string> text = ToJson(value, {}, 1 << 20);
  return text.ok() ? *text : text.status().ToString();
}

TEST(RequestReaderTest, BadBodies) {
  size_t count = 0;
  for (const ApiDialect dialect : kDialects) {
    for (const BadBody& bad : BadBodiesOf(dialect)) {
      const std::string body = BodyOf(dialect, bad);
      const auto request = ReadGenerationRequest(dialect, body, {});
      ASSERT_FALSE(request.ok()) << body;
      const ApiError error = ToApiError(request.status());
      EXPECT_EQ(error.http_status, 400) << body;
      EXPECT_EQ(error.type, "invalid_request_error") << body;
      EXPECT_EQ(error.param.value_or("-"), bad.param != nullptr ? bad.param : "-") << body;
      EXPECT_EQ(error.code.value_or("-"), bad.code != nullptr ? bad.code : "-") << body;
      EXPECT_FALSE(error.message.empty()) << body;
      ++count;
    }
  }
  EXPECT_GE(count, 200u);
}

TEST(RequestReaderTest, DeepNestingAndTooManyBytes) {
  const std::string deep(100'000, '[');
  EXPECT_EQ(ToApiError(ReadChatRequest(deep, {}).status()).code, "invalid_json");
  const std::string closed = "{\"model\":" + deep + std::string(100'000, ']') + "}";
  EXPECT_EQ(ToApiError(ReadChatRequest(closed, {}).status()).code, "invalid_json");
  RequestLimits limits;
  limits.json.bytes_max = 10;
  EXPECT_EQ(ToApiError(ReadChatRequest(GoodBody(ApiDialect::kChat), limits).status()).http_status,
            400);
}

TEST(RequestReaderTest, SmallestBodies) {
  for (const ApiDialect dialect : kDialects) {
    const GenerationRequest request = Read(dialect, GoodBody(dialect));
    EXPECT_EQ(request.dialect, dialect);
    EXPECT_EQ(request.model, "m");
    EXPECT_EQ(request.n, 1u);
    EXPECT_FALSE(request.stream);
    EXPECT_FALSE(request.logprobs.has_value());
    EXPECT_EQ(request.sampling, SamplingOverrides());
    EXPECT_TRUE(request.skip_special_tokens);
    EXPECT_EQ(request.tool_choice, ToolChoice::kNone);
    if (dialect == ApiDialect::kCompletion) continue;
    EXPECT_EQ(Json(request.chat().messages), R"([{"role": "user", "content": "hi"}])");
    EXPECT_TRUE(request.chat().tools.is_none());
    EXPECT_TRUE(request.chat().add_generation_prompt);
  }
  EXPECT_EQ(Read(ApiDialect::kChat, GoodBody(ApiDialect::kChat)).tokens_max, std::nullopt);
  EXPECT_EQ(Read(ApiDialect::kCompletion, GoodBody(ApiDialect::kCompletion)).tokens_max, 16u);
}

TEST(RequestReaderTest, TheModelMayBeLeftOut) {
  for (const ApiDialect dialect : kDialects) {
    for (const char* model : {"", R"("model":null,)", R"("model":"",)"}) {
      std::string body(GoodBody(dialect));
      const size_t at = body.find(R"("model":"m",)");
      ASSERT_NE(at, std::string::npos) << body;
      body.replace(at, 12, model);
      EXPECT_EQ(Read(dialect, body).model, "") << body;
    }
  }
}

TEST(RequestReaderTest, NumbersAtTheEndsOfTheirRanges) {
  const auto sampling = [](const std::string& members) {
    return Read(ApiDialect::kCompletion, R"({"prompt":"x",)" + members + "}").sampling;
  };
  EXPECT_FLOAT_EQ(*sampling(R"("repetition_penalty":0.001)").repetition_penalty, 0.001f);
  EXPECT_FLOAT_EQ(*sampling(R"("repetition_penalty":1000)").repetition_penalty, 1000.0f);
  // 0 would mean that it is off.
  EXPECT_GT(*sampling(R"("top_p":1e-60)").top_p, 0.0f);
  EXPECT_LT(*sampling(R"("top_p":1e-60)").top_p, 1e-30f);
  EXPECT_EQ(*sampling(R"("top_p":1)").top_p, 1.0f);
}

TEST(RequestReaderTest, EverythingOfChat) {
  const GenerationRequest r = Read(ApiDialect::kChat, R"({
    "model": "m", "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"},
      {"type": "text", "text": "b"}]}, {"role": "assistant", "content": null, "reasoning": "r",
      "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f",
      "arguments": "{\"x\": 1}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "ok"}],
    "temperature": 0, "top_p": 0.5, "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.5,
    "presence_penalty": -2, "frequency_penalty": 2, "seed": -5, "logit_bias": {"7": -100},
    "allowed_token_ids": [1, 2], "n": 3, "max_tokens": 5, "max_completion_tokens": 6,
    "min_tokens": 2, "stop": ["a", "b"], "stop_token_ids": [9], "include_stop_str_in_output": true,
    "ignore_eos": true, "skip_special_tokens": false, "truncate_prompt_tokens": 8, "stream": true,
    "stream_options": {"include_usage": true, "continuous_usage_stats": true}, "logprobs": true,
    "top_logprobs": 4, "return_token_ids": true, "return_routed_experts": true,
    "degraded_allowed": true, "include_reasoning": false, "priority": -3, "cache_salt": "s",
    "request_id": "id", "user": "u", "parallel_tool_calls": false, "tools": [{"type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
    "reasoning_effort": "low", "chat_template_kwargs": {"z": 1}, "response_format":
    {"type": "text"}, "store": true, "metadata": {"a": "b"}, "unknown": [1]})");
  EXPECT_EQ(Json(r.chat().messages),
            R"([{"role": "system", "content": "ab"}, {"role": "assistant", "content": "", )"
            R"("reasoning": "r", "tool_calls": [{"id": "1", "type": "function", "function": )"
            R"({"name": "f", "arguments": {"x": 1}}}], "reasoning_content": "r"}, )"
            R"({"role": "tool", "tool_call_id": "1", "content": "ok"}])");
  EXPECT_EQ(r.sampling.temperature, 0.0f);
  EXPECT_EQ(r.sampling.top_k, 0u);
  EXPECT_EQ(r.sampling.seed, -5);
  EXPECT_EQ(r.sampling.logit_bias, (std::vector<std::pair<TokenId, float>>{{7, -100.0f}}));
  EXPECT_EQ(r.n, 3u);
  EXPECT_EQ(r.tokens_max, 6u);
  EXPECT_EQ(r.tokens_min, 2u);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.stop_token_ids, std::vector<TokenId>{9});
  EXPECT_TRUE(r.include_stop_in_output && r.ignore_eos && r.stream && r.include_usage);
  EXPECT_TRUE(r.continuous_usage && r.return_token_ids && r.return_routed_experts);
  EXPECT_TRUE(r.degraded_allowed);
  EXPECT_FALSE(r.skip_special_tokens || r.include_reasoning || r.parallel_tool_calls);
  EXPECT_EQ(r.logprobs, 4u);
  EXPECT_EQ(r.truncate_prompt_tokens, 8u);
  EXPECT_EQ(r.priority, -3);
  EXPECT_EQ(r.cache_salt + r.request_id + r.user, "sidu");
  EXPECT_EQ(r.tool_choice, ToolChoice::kAuto);
  ASSERT_EQ(r.tools.size(), 1u);
  EXPECT_EQ(r.tools[0].name, "f");
  EXPECT_EQ(Json(r.chat().tools),
            R"([{"type": "function", "function": {"name": "f", "description": "d", )"
            R"("parameters": {"type": "object"}}}])");
  EXPECT_EQ(r.chat().template_variables.Find("reasoning_effort")->AsString(), "low");
  EXPECT_EQ(r.chat().template_variables.Find("z")->AsInteger(), 1);
}

TEST(RequestReaderTest, ToolChoiceNoneHidesTheTools) {
  const GenerationRequest r =
      Read(ApiDialect::kChat,
           R"({"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":"none",
          "tools":[{"type":"function","function":{"name":"f"}}],"reasoning_effort":"none"})");
  EXPECT_EQ(r.tool_choice, ToolChoice::kNone);
  EXPECT_TRUE(r.tools.empty());
  EXPECT_TRUE(r.chat().tools.is_none());
  EXPECT_FALSE(r.chat().template_variables.Find("enable_thinking")->AsBool());
}

TEST(RequestReaderTest, CompletionPrompts) {
  const auto prompts = [](const char* prompt) {
    return Read(ApiDialect::kCompletion,
                std::string(R"({"model":"m","max_tokens":0,"echo":true,"prompt":)") + prompt + "}")
        .prompts();
  };
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(prompts(R"("a")"), (std::vector<CompletionPrompt>{"a"}));
  EXPECT_EQ(prompts(R"(["a","b"])"), (std::vector<CompletionPrompt>{"a", "b"}));
  EXPECT_EQ(prompts("[1,2]"), (std::vector<CompletionPrompt>{Ids{1, 2}}));
  EXPECT_EQ(prompts("[[1],[2,3]]"), (std::vector<CompletionPrompt>{Ids{1}, Ids{2, 3}}));
}

TEST(RequestReaderTest, AnthropicBlocks) {
  const GenerationRequest r = Read(ApiDialect::kMessages, R"({
    "model": "m", "max_tokens": 7, "system": [{"type": "text", "text": "be kind"}],
    "stop_sequences": ["END"], "thinking": {"type": "disabled"}, "metadata": {"user_id": "u"},
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
    "messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "ok"},
      {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1",
      "content": [{"type": "text", "text": "42"}]}, {"type": "text", "text": "and?"}]}]})");
  EXPECT_EQ(Json(r.chat().messages),
            R"([{"role": "system", "content": "be kind"}, {"role": "user", "content": "go"}, )"
            R"({"role": "assistant", "content": "ok", "reasoning": "hm", "reasoning_content": )"
            R"("hm", "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", )"
            R"("arguments": {"a": 1}}}]}, {"role": "tool", "content": "42", "tool_call_id": )"
            R"("t1"}, {"role": "user", "content": "and?"}])");
  EXPECT_EQ(r.tokens_max, 7u);
  EXPECT_EQ(r.stop, std::vector<std::string>{"END"});
  EXPECT_FALSE(r.parallel_tool_calls);
  EXPECT_EQ(r.user, "u");
  EXPECT_FALSE(r.chat().continue_final_message);
  const GenerationRequest prefilled =
      Read(ApiDialect::kMessages,
           R"({"model":"m","max_tokens":7,"messages":[{"role":"user","content":"x"},
          {"role":"assistant","content":"The answer"}]})");
  EXPECT_TRUE(prefilled.chat().continue_final_message);
  EXPECT_FALSE(prefilled.chat().add_generation_prompt);
  EXPECT_TRUE(ReadMessagesRequest(R"({"model":"m","messages":[{"role":"user","content":"x"}]})", {},
                                  /*count_only=*/true)
                  .ok());
}

TEST(RequestReaderTest, ResponsesItems) {
  const GenerationRequest r = Read(ApiDialect::kResponses, R"({
    "model": "m", "instructions": "be kind", "max_output_tokens": 9, "metadata": {"k": "v"},
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "include": ["message.output_text.logprobs"],
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "go"}]},
      {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text",
      "text": "hm"}]}, {"type": "message", "role": "assistant", "content": [
      {"type": "output_text", "text": "ok"}]}, {"type": "function_call", "call_id": "c1",
      "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c1",
      "output": "42"}]})");
  EXPECT_EQ(Json(r.chat().messages),
            R"([{"role": "system", "content": "be kind"}, {"role": "user", "content": "go"}, )"
            R"({"role": "assistant", "content": "ok", "reasoning": "hm", "reasoning_content": )"
            R"("hm", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", )"
            R"("arguments": {}}}]}, {"role": "tool", "content": "42", "tool_call_id": "c1"}])");
  EXPECT_EQ(r.logprobs, 0u);
  EXPECT_EQ(r.echoed.instructions, "\"be kind\"");
  EXPECT_EQ(r.echoed.metadata, R"({"k":"v"})");
  EXPECT_EQ(r.echoed.tools,
            R"([{"type":"function","name":"f","parameters":{"type":"object"},"strict":false}])");
}

TEST(RequestReaderTest, TokenizeAndDetokenize) {
  const auto text = ReadTokenizeRequest(R"({"prompt":"a","return_token_strs":true})", {});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(std::get<std::string>(text->prompt), "a");
  EXPECT_TRUE(text->add_special_tokens && text->return_token_strs);
  const auto chat = ReadTokenizeRequest(R"({"messages":[{"role":"user","content":"a"}]})", {});
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_TRUE(std::holds_alternative<ChatPrompt>(chat->prompt));
  EXPECT_FALSE(chat->add_special_tokens);
  EXPECT_EQ(ToApiError(ReadTokenizeRequest("{}", {}).status()).param, "prompt");
  const auto ids = ReadDetokenizeRequest(R"({"tokens":[1,2]})", {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->tokens, (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(ToApiError(ReadDetokenizeRequest(R"({"tokens":"x"})", {}).status()).param, "tokens");
}

TEST(RequestReaderTest, ResolveChecksTheVocabulary) {
  SamplingOverrides overrides;
  overrides.top_k = 5;
  overrides.logit_bias = {{99, 1.0f}};
  wire::SamplingOptions defaults;
  defaults.temperature = 0.25f;
  const auto good = Resolve(overrides, defaults, 100);
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->temperature, 0.25f);
  EXPECT_EQ(good->top_k, 5u);
  EXPECT_EQ(ToApiError(Resolve(overrides, defaults, 99).status()).param, "logit_bias");
}

}  // namespace
}  // namespace tessera::gateway
