#include "services/gateway/api/reply.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "common/json/json.h"
#include "services/gateway/api/reply_parts.h"
#include "tests/services/gateway/api/reply_samples.h"

namespace tessera::gateway {
namespace {

constexpr ApiDialect kDialects[] = {ApiDialect::kChat, ApiDialect::kCompletion,
                                    ApiDialect::kMessages, ApiDialect::kResponses};

// The value at a path of keys and indices: "choices.0.delta". Nothing if there is none.
std::optional<JsonValue> At(JsonValue value, std::string_view path) {
  while (!path.empty()) {
    const size_t dot = std::min(path.find('.'), path.size());
    const std::string_view step = path.substr(0, dot);
    path.remove_prefix(std::min(dot + 1, path.size()));
    if (value.is_array()) {
      const size_t index = static_cast<size_t>(step[0] - '0');
      if (index >= value.size()) return std::nullopt;
      value = value.at(index);
      continue;
    }
    const std::optional<JsonValue> member = value.Find(step);
    if (!member.has_value()) return std::nullopt;
    value = *member;
  }
  return value;
}

std::string TextAt(JsonValue value, std::string_view path) {
  const std::optional<JsonValue> found = At(value, path);
  if (!found.has_value()) return "(none)";
  if (found->is_null()) return "(null)";
  if (found->is_number()) return std::to_string(*found->AsInteger());
  return found->is_string() ? std::string(*found->AsString()) : found->Describe();
}

JsonDocument Parsed(const std::string& text) {
  absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text);
  EXPECT_TRUE(document.ok()) << document.status() << "\n" << text;
  return document.ok() ? *std::move(document) : *JsonDocument::Parse("{}");
}

TEST(ReplyTest, LogprobsAreNumbersOfJson) {
  EXPECT_EQ(ShownLogprob(-0.5f), -0.5f);
  EXPECT_EQ(ShownLogprob(-INFINITY), -9999);
  EXPECT_EQ(ShownLogprob(NAN), -9999);
  EXPECT_EQ(ShownLogprob(1e-7f), 0);
}

TEST(ReplyTest, ChatReply) {
  const GenerationRequest request = FullRequest(ApiDialect::kChat);
  const ChoiceOutput choices[] = {FullChoice()};
  const JsonDocument reply =
      Parsed(WriteReply(request, SampleHead(ApiDialect::kChat), choices, kSampleUsage));
  const JsonValue root = reply.root();
  EXPECT_EQ(TextAt(root, "id"), "chatcmpl-00000000000000010000000000000002");
  EXPECT_EQ(TextAt(root, "object"), "chat.completion");
  EXPECT_EQ(TextAt(root, "choices.0.message.content"), "Let me \"see\"\n");
  EXPECT_EQ(TextAt(root, "choices.0.message.reasoning_content"), "hm");
  EXPECT_EQ(TextAt(root, "choices.0.message.reasoning"), "(none)");
  EXPECT_EQ(TextAt(root, "choices.0.message.refusal"), "(null)");
  EXPECT_EQ(TextAt(root, "choices.0.message.tool_calls.1.function.name"), "g");
  EXPECT_EQ(TextAt(root, "choices.0.message.tool_calls.0.function.arguments"), "{\"a\": 1}");
  EXPECT_EQ(TextAt(root, "choices.0.finish_reason"), "tool_calls");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.content.0.bytes.1"), "130");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.content.0.token"), "\xEF\xBF\xBD");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.content.0.top_logprobs.1.logprob"), "-9999");
  EXPECT_EQ(TextAt(root, "choices.0.routed_experts.1.1.0"), "7");
  EXPECT_EQ(TextAt(root, "usage.total_tokens"), "17");
  EXPECT_EQ(TextAt(root, "usage.prompt_tokens_details.cached_tokens"), "4");
  EXPECT_EQ(TextAt(root, "usage.completion_tokens_details.reasoning_tokens"), "2");
}

TEST(ReplyTest, ChatContentIsNullOnlyIfSomethingElseWasSaid) {
  GenerationRequest request;
  ChoiceOutput silent;
  const auto content = [&](const ChoiceOutput& choice) {
    const JsonDocument reply =
        Parsed(WriteReply(request, SampleHead(ApiDialect::kChat), {&choice, 1}, kSampleUsage));
    EXPECT_EQ(TextAt(reply.root(), "choices.0.logprobs"), "(null)");
    EXPECT_EQ(TextAt(reply.root(), "choices.0.message.tool_calls"), "(none)");
    return TextAt(reply.root(), "choices.0.message.content");
  };
  EXPECT_EQ(content(silent), "");
  ChoiceOutput thought;
  thought.events = {{.kind = OutputEvent::Kind::kReasoning, .text = "hm"}};
  EXPECT_EQ(content(thought), "(null)");
}

TEST(ReplyTest, ChatStream) {
  const std::string stream = Streamed(FullRequest(ApiDialect::kChat), {FullChoice(), FullChoice()});
  EXPECT_TRUE(stream.ends_with("data: [DONE]\n\n"));
  EXPECT_NE(stream.find("\n\n: ping\n\n"), std::string::npos);
  std::map<std::string, std::string> arguments;  // by choice and call
  std::map<std::string, int> finishes;
  std::string content;
  const std::vector<std::string> chunks = DataOf(stream);
  for (size_t i = 0; i < chunks.size(); ++i) {
    const JsonDocument chunk = Parsed(chunks[i]);
    const JsonValue root = chunk.root();
    EXPECT_EQ(TextAt(root, "object"), "chat.completion.chunk");
    EXPECT_EQ(TextAt(root, "created"), "1700000000");
    const bool last = i + 1 == chunks.size();
    EXPECT_EQ(TextAt(root, "usage") == "(null)", !last);
    if (last) {
      EXPECT_EQ(At(root, "choices")->size(), 0u);
      EXPECT_EQ(TextAt(root, "usage.total_tokens"), "17");
      break;
    }
    const std::string index = TextAt(root, "choices.0.index");
    if (i < 2) {
      EXPECT_EQ(TextAt(root, "choices.0.delta.role"), "assistant");
      EXPECT_EQ(TextAt(root, "choices.0.delta.content"), "");
    }
    const std::string call = TextAt(root, "choices.0.delta.tool_calls.0.index");
    if (call != "(none)") {
      const std::string function = "choices.0.delta.tool_calls.0.function";
      const bool first = !arguments.contains(index + call);
      EXPECT_EQ(TextAt(root, "choices.0.delta.tool_calls.0.id") != "(none)", first);
      EXPECT_EQ(TextAt(root, function + ".name") != "(none)", first);
      arguments[index + call] += TextAt(root, function + ".arguments");
    }
    if (TextAt(root, "choices.0.finish_reason") != "(null)") {
      EXPECT_EQ(At(root, "choices.0.delta")->size(), 0u);
      ++finishes[index];
    }
  }
  EXPECT_EQ(arguments,
            (std::map<std::string, std::string>{
                {"00", "{\"a\": 1}"}, {"01", "{}"}, {"10", "{\"a\": 1}"}, {"11", "{}"}}));
  EXPECT_EQ(finishes, (std::map<std::string, int>{{"0", 1}, {"1", 1}}));
}

TEST(ReplyTest, UsageKeysOnlyWhereAskedFor) {
  GenerationRequest request = FullRequest(ApiDialect::kChat);
  request.include_usage = false;
  EXPECT_EQ(Streamed(request, {FullChoice()}).find("\"usage\""), std::string::npos);
  request.include_usage = true;
  request.continuous_usage = true;
  EXPECT_EQ(Streamed(request, {FullChoice()}).find("\"usage\":null"), std::string::npos);
}

TEST(ReplyTest, ReasoningUnderAnotherNameOrNone) {
  GenerationRequest request = FullRequest(ApiDialect::kChat);
  const ChoiceOutput choice = FullChoice();
  ReplyHead head = SampleHead(ApiDialect::kChat);
  const auto reply = [&] {
    const std::string text = WriteReply(request, head, {&choice, 1}, kSampleUsage);
    return std::pair(text.find("\"reasoning_content\"") != std::string::npos,
                     text.find("\"reasoning\"") != std::string::npos);
  };
  EXPECT_EQ(reply(), std::pair(true, false));
  head.reasoning_field = ReasoningField::kOpenrouter;
  EXPECT_EQ(reply(), std::pair(false, true));
  head.reasoning_field = ReasoningField::kBoth;
  EXPECT_EQ(reply(), std::pair(true, true));
  head.reasoning_field = ReasoningField::kNone;
  EXPECT_EQ(reply(), std::pair(false, false));
  head.reasoning_field = ReasoningField::kBoth;
  request.include_reasoning = false;
  EXPECT_EQ(reply(), std::pair(false, false));
}

TEST(ReplyTest, CompletionReply) {
  const GenerationRequest request = FullRequest(ApiDialect::kCompletion);
  ChoiceOutput choice = FullChoice();
  choice.events = {{.kind = OutputEvent::Kind::kContent, .text = " there"}};
  choice.end = {.reason = FinishReason::kStop, .stopped_by = std::string("END")};
  const JsonDocument reply =
      Parsed(WriteReply(request, SampleHead(ApiDialect::kCompletion), {&choice, 1}, kSampleUsage));
  const JsonValue root = reply.root();
  EXPECT_EQ(TextAt(root, "object"), "text_completion");
  EXPECT_EQ(TextAt(root, "choices.0.text"), "Hi there");
  EXPECT_EQ(TextAt(root, "choices.0.stop_reason"), "END");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.tokens.0"), "H");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.tokens.2"), "bytes:\\xe2\\x82");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.token_logprobs.0"), "(null)");
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.top_logprobs.0"), "(null)");
  EXPECT_EQ(At(root, "choices.0.logprobs.top_logprobs.1")->size(), 2u);
  EXPECT_EQ(TextAt(root, "choices.0.logprobs.text_offset.2"), "2");
}

TEST(ReplyTest, CompletionStreamSaysTheSame) {
  ChoiceOutput choice = FullChoice();
  choice.events = {{.kind = OutputEvent::Kind::kContent, .text = " there"}};
  std::string text;
  for (const std::string& data : DataOf(Streamed(FullRequest(ApiDialect::kCompletion), {choice}))) {
    const JsonDocument chunk = Parsed(data);
    if (At(chunk.root(), "choices")->size() == 0) continue;
    text += TextAt(chunk.root(), "choices.0.text");
  }
  EXPECT_EQ(text, "Hi there");
}

TEST(ReplyTest, AnthropicMessage) {
  const ChoiceOutput choice = FullChoice();
  const JsonDocument reply =
      Parsed(WriteReply(FullRequest(ApiDialect::kMessages), SampleHead(ApiDialect::kMessages),
                        {&choice, 1}, kSampleUsage));
  const JsonValue root = reply.root();
  EXPECT_EQ(TextAt(root, "content.0.thinking"), "hm");
  EXPECT_EQ(TextAt(root, "content.1.text"), "Let me \"see\"\n");
  EXPECT_EQ(TextAt(root, "content.2.input.a"), "1");
  EXPECT_EQ(TextAt(root, "content.3.name"), "g");
  EXPECT_EQ(TextAt(root, "stop_reason"), "tool_use");
  EXPECT_EQ(TextAt(root, "usage.input_tokens"), "6");
  EXPECT_EQ(TextAt(root, "usage.cache_read_input_tokens"), "4");
}

TEST(ReplyTest, AnthropicStopReasons) {
  const auto stop = [](const ChoiceEnd& end) {
    ChoiceOutput choice;
    choice.end = end;
    const JsonDocument reply =
        Parsed(WriteReply(FullRequest(ApiDialect::kMessages), SampleHead(ApiDialect::kMessages),
                          {&choice, 1}, kSampleUsage));
    return TextAt(reply.root(), "stop_reason") + " " + TextAt(reply.root(), "stop_sequence");
  };
  EXPECT_EQ(stop({}), "end_turn (null)");
  EXPECT_EQ(stop({.stopped_by = std::string("END")}), "stop_sequence END");
  EXPECT_EQ(stop({.stopped_by = TokenId{4}}), "end_turn (null)");
  EXPECT_EQ(stop({.reason = FinishReason::kLength}), "max_tokens (null)");
}

TEST(ReplyTest, AnthropicStream) {
  const std::string stream = Streamed(FullRequest(ApiDialect::kMessages), {FullChoice()});
  std::vector<std::string> types;
  std::string input;
  int64_t open = -1;
  for (const std::string& data : DataOf(stream)) {
    const JsonDocument event = Parsed(data);
    const JsonValue root = event.root();
    types.push_back(TextAt(root, "type"));
    EXPECT_NE(stream.find("event: " + types.back() + "\ndata: " + data), std::string::npos);
    if (types.back() == "content_block_start") {
      EXPECT_EQ(TextAt(root, "index"), std::to_string(open + 1));
      ++open;
    }
    if (types.back() == "content_block_delta") {
      EXPECT_EQ(TextAt(root, "index"), std::to_string(open));
      if (TextAt(root, "delta.type") == "input_json_delta")
        input += TextAt(root, "delta.partial_json");
    }
  }
  EXPECT_EQ(types.front(), "message_start");
  EXPECT_EQ(types[1], "ping");
  EXPECT_EQ(types[types.size() - 2], "message_delta");
  EXPECT_EQ(types.back(), "message_stop");
  EXPECT_EQ(std::count(types.begin(), types.end(), "content_block_stop"), 4);
  EXPECT_EQ(input, "{\"a\": 1}{}");
  EXPECT_EQ(stream.find("[DONE]"), std::string::npos);
}

TEST(ReplyTest, ResponsesStreamEndsWithTheWholeReply) {
  const GenerationRequest request = FullRequest(ApiDialect::kResponses);
  const ChoiceOutput choice = FullChoice();
  const std::vector<std::string> events = DataOf(Streamed(request, {choice}));
  for (size_t i = 0; i < events.size(); ++i) {
    const JsonDocument event = Parsed(events[i]);
    EXPECT_EQ(TextAt(event.root(), "sequence_number"), std::to_string(i));
  }
  const std::string whole =
      WriteReply(request, SampleHead(ApiDialect::kResponses), {&choice, 1}, kSampleUsage);
  EXPECT_EQ(events.back(), "{\"type\":\"response.completed\",\"sequence_number\":" +
                               std::to_string(events.size() - 1) + ",\"response\":" + whole + "}");
  const JsonDocument reply = Parsed(whole);
  EXPECT_EQ(TextAt(reply.root(), "status"), "completed");
  EXPECT_EQ(TextAt(reply.root(), "output.0.content.0.text"), "hm");
  EXPECT_EQ(TextAt(reply.root(), "output.1.content.0.text"), "Let me \"see\"\n");
  EXPECT_EQ(TextAt(reply.root(), "output.2.arguments"), "{\"a\": 1}");
  EXPECT_EQ(TextAt(reply.root(), "usage.output_tokens_details.reasoning_tokens"), "2");
}

TEST(ReplyTest, ResponsesThatHitTheLimitAreIncomplete) {
  ChoiceOutput choice = FullChoice();
  choice.end.reason = FinishReason::kLength;
  const JsonDocument reply =
      Parsed(WriteReply(FullRequest(ApiDialect::kResponses), SampleHead(ApiDialect::kResponses),
                        {&choice, 1}, kSampleUsage));
  EXPECT_EQ(TextAt(reply.root(), "status"), "incomplete");
  EXPECT_EQ(TextAt(reply.root(), "incomplete_details.reason"), "max_output_tokens");
}

TEST(ReplyTest, FailuresAreEvents) {
  const ApiError error = ToApiError(absl::UnavailableError("gone"));
  for (const ApiDialect dialect : kDialects) {
    const auto writer = MakeStreamWriter(FullRequest(dialect), SampleHead(dialect));
    std::string out;
    writer->Fail(error, out);
    ASSERT_EQ(DataOf(out).size(), 1u);
    const JsonDocument event = Parsed(DataOf(out)[0]);
    const bool nested = dialect != ApiDialect::kResponses;
    EXPECT_EQ(TextAt(event.root(), nested ? "error.message" : "message"), "gone") << out;
    EXPECT_TRUE(out.ends_with("\n\n"));
    if (dialect != ApiDialect::kMessages) continue;
    EXPECT_EQ(TextAt(event.root(), "request_id"), SampleHead(dialect).request_id);
  }
}

TEST(ReplyTest, SmallReplies) {
  const ModelInfo model = {.id = "m", .created_unix_s = 5, .model_len_max = 4096};
  EXPECT_EQ(WriteModelList({&model, 1}),
            R"({"object":"list","data":[{"id":"m","object":"model","created":5,)"
            R"("owned_by":"tessera","max_model_len":4096}]})");
  const std::vector<TokenId> ids = {1, 2};
  const std::vector<std::string> texts = {"a", "b"};
  EXPECT_EQ(WriteTokenizeReply(ids, &texts, 9),
            R"({"count":2,"max_model_len":9,"tokens":[1,2],"token_strs":["a","b"]})");
  EXPECT_EQ(WriteTokenizeReply(ids, nullptr, 9),
            R"({"count":2,"max_model_len":9,"tokens":[1,2],"token_strs":null})");
  EXPECT_EQ(WriteDetokenizeReply("a\n"), R"({"prompt":"a\n"})");
  EXPECT_EQ(WriteCountTokensReply(3), R"({"input_tokens":3})");
}

}  // namespace
}  // namespace tessera::gateway
