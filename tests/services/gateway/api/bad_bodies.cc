#include "tests/services/gateway/api/bad_bodies.h"

namespace tessera::gateway {
namespace {

constexpr const char* kJson = "invalid_json";
constexpr const char* kNotYet = "unsupported";
constexpr const char* kNone = nullptr;

constexpr BadBody kChat[] = {
    {"", kNone, kJson},
    {" ", kNone, kJson},
    {"{", kNone, kJson},
    {"{}", "messages", kNone},
    {"[]", kNone, kNone},
    {"null", kNone, kNone},
    {"\"x\"", kNone, kNone},
    {"3", kNone, kNone},
    {"{}{}", kNone, kJson},
    {"{\"model\":\"m\",}", kNone, kJson},
    {"{'model':'m'}", kNone, kJson},
    {"{\"model\":NaN}", kNone, kJson},
    {"{\"model\":1e999}", kNone, kJson},
    {"{\"model\":\"m\",\"model\":\"m\"}", kNone, kJson},
    {"{\"model\":\"\xff\"}", kNone, kJson},
    {"{\"model\":\"\xc3\"}", kNone, kJson},
    {"{\"model\":\"\xed\xa0\x80\"}", kNone, kJson},
    {"{\"model\":\"\\ud800\"}", kNone, kJson},
    {"{\"model\":\"a\nb\"}", kNone, kJson},
    {"{/**/}", kNone, kJson},
    {"{\"model\":\"m\"}", "messages", kNone},
    {"{\"model\":1,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "model", kNone},
    {"{\"model\":\"m\",\"messages\":[]}", "messages", kNone},
    {"{\"model\":\"m\",\"messages\":{}}", "messages", kNone},
    {"{\"model\":\"m\",\"messages\":\"hi\"}", "messages", kNone},
    {"{\"model\":\"m\",\"messages\":null}", "messages", kNone},
    {"{\"model\":\"m\",\"messages\":[1]}", "messages[0]", kNone},
    {"{\"model\":\"m\",\"messages\":[{}]}", "messages[0].role", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":1}]}", "messages[0].role", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"robot\",\"content\":\"\"}]}", "messages[0].role",
     kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":null}]}", "messages[0].content",
     kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":5}]}", "messages[0].content",
     kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[5]}]}",
     "messages[0].content[0]", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{}]}]}",
     "messages[0].content[0].type", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
     "messages[0].content[0].text", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}"
     "]}]}",
     "messages[0].content[0].text", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
     "\"image_url\":{\"url\":\"data:\"}}]}]}",
     "messages[0].content[0].type", kNotYet},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}]"
     "}",
     "messages[0].content[0].type", kNotYet},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}",
     "messages[0].tool_call_id", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":3}]}",
     "messages[0].name", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"reasoning_content\":3}]}",
     "messages[0].reasoning_content", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":3}]}",
     "messages[0].tool_calls", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[3]}]}",
     "messages[0].tool_calls[0]", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\"}]}]}",
     "messages[0].tool_calls[0].function", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"function\":"
     "{\"arguments\":\"{}\"}}]}]}",
     "messages[0].tool_calls[0].function.name", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"function\":"
     "{\"name\":\"f\"}}]}]}",
     "messages[0].tool_calls[0].function.arguments", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"function\":"
     "{\"name\":\"f\",\"arguments\":3}}]}]}",
     "messages[0].tool_calls[0].function.arguments", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"function\":"
     "{\"name\":\"f\",\"arguments\":[1]}}]}]}",
     "messages[0].tool_calls[0].function.arguments", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
     "\"type\":\"x\","
     "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}",
     "messages[0].tool_calls[0].type", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[{}]}]}",
     "messages[0].tool_calls", kNone},
    {",\"temperature\":-0.1", "temperature", kNone},
    {",\"temperature\":2.1", "temperature", kNone},
    {",\"temperature\":1e300", "temperature", kNone},
    {",\"temperature\":\"1\"", "temperature", kNone},
    {",\"temperature\":true", "temperature", kNone},
    {",\"temperature\":[1]", "temperature", kNone},
    {",\"top_p\":0", "top_p", kNone},
    {",\"top_p\":1.01", "top_p", kNone},
    {",\"top_p\":-1", "top_p", kNone},
    {",\"top_p\":{}", "top_p", kNone},
    {",\"top_k\":-2", "top_k", kNone},
    {",\"top_k\":1.5", "top_k", kNone},
    {",\"top_k\":4294967296", "top_k", kNone},
    {",\"min_p\":-0.1", "min_p", kNone},
    {",\"min_p\":1.1", "min_p", kNone},
    {",\"repetition_penalty\":0", "repetition_penalty", kNone},
    {",\"repetition_penalty\":0.0009", "repetition_penalty", kNone},
    {",\"repetition_penalty\":1000.1", "repetition_penalty", kNone},
    {",\"repetition_penalty\":-1", "repetition_penalty", kNone},
    {",\"repetition_penalty\":\"2\"", "repetition_penalty", kNone},
    {",\"presence_penalty\":2.1", "presence_penalty", kNone},
    {",\"presence_penalty\":-2.1", "presence_penalty", kNone},
    {",\"frequency_penalty\":3", "frequency_penalty", kNone},
    {",\"frequency_penalty\":-3", "frequency_penalty", kNone},
    {",\"seed\":1.5", "seed", kNone},
    {",\"seed\":\"1\"", "seed", kNone},
    {",\"seed\":9223372036854775808", "seed", kNone},
    {",\"n\":0", "n", kNone},
    {",\"n\":-1", "n", kNone},
    {",\"n\":129", "n", kNone},
    {",\"n\":2.5", "n", kNone},
    {",\"n\":\"2\"", "n", kNone},
    {",\"max_tokens\":0", "max_tokens", kNone},
    {",\"max_tokens\":-1", "max_tokens", kNone},
    {",\"max_tokens\":1.5", "max_tokens", kNone},
    {",\"max_tokens\":\"9\"", "max_tokens", kNone},
    {",\"max_tokens\":99999999999", "max_tokens", kNone},
    {",\"max_completion_tokens\":0", "max_completion_tokens", kNone},
    {",\"max_completion_tokens\":[]", "max_completion_tokens", kNone},
    {",\"min_tokens\":-1", "min_tokens", kNone},
    {",\"min_tokens\":5,\"max_tokens\":4", "min_tokens", kNone},
    {",\"stop\":1", "stop", kNone},
    {",\"stop\":\"\"", "stop", kNone},
    {",\"stop\":[\"a\",\"\"]", "stop[1]", kNone},
    {",\"stop\":[1]", "stop[0]", kNone},
    {",\"stop\":{}", "stop", kNone},
    {",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\","
     "\"14\","
     "\"15\",\"16\",\"17\"]",
     "stop", kNone},
    {",\"stop_token_ids\":[-1]", "stop_token_ids[0]", kNone},
    {",\"stop_token_ids\":[1,\"2\"]", "stop_token_ids[1]", kNone},
    {",\"stop_token_ids\":5", "stop_token_ids", kNone},
    {",\"logit_bias\":{\"a\":1}", "logit_bias", kNone},
    {",\"logit_bias\":{\"-1\":1}", "logit_bias", kNone},
    {",\"logit_bias\":{\"\":1}", "logit_bias", kNone},
    {",\"logit_bias\":{\"99999999999\":1}", "logit_bias", kNone},
    {",\"logit_bias\":{\"5\":101}", "logit_bias.5", kNone},
    {",\"logit_bias\":{\"5\":-101}", "logit_bias.5", kNone},
    {",\"logit_bias\":{\"5\":\"1\"}", "logit_bias.5", kNone},
    {",\"logit_bias\":[]", "logit_bias", kNone},
    {",\"allowed_token_ids\":[1.5]", "allowed_token_ids[0]", kNone},
    {",\"logprobs\":1", "logprobs", kNone},
    {",\"logprobs\":\"true\"", "logprobs", kNone},
    {",\"logprobs\":true,\"top_logprobs\":21", "top_logprobs", kNone},
    {",\"logprobs\":true,\"top_logprobs\":-1", "top_logprobs", kNone},
    {",\"top_logprobs\":5", "top_logprobs", kNone},
    {",\"logprobs\":false,\"top_logprobs\":1", "top_logprobs", kNone},
    {",\"stream\":\"yes\"", "stream", kNone},
    {",\"stream\":1", "stream", kNone},
    {",\"stream_options\":{}", "stream_options", kNone},
    {",\"stream\":false,\"stream_options\":{\"include_usage\":true}", "stream_options", kNone},
    {",\"stream\":true,\"stream_options\":[]", "stream_options", kNone},
    {",\"stream\":true,\"stream_options\":{\"include_usage\":1}", "stream_options.include_usage",
     kNone},
    {",\"stream\":true,\"prompt_logprobs\":1", "prompt_logprobs", kNone},
    {",\"prompt_logprobs\":21", "prompt_logprobs", kNone},
    {",\"ignore_eos\":\"no\"", "ignore_eos", kNone},
    {",\"skip_special_tokens\":0", "skip_special_tokens", kNone},
    {",\"include_stop_str_in_output\":[]", "include_stop_str_in_output", kNone},
    {",\"return_token_ids\":1", "return_token_ids", kNone},
    {",\"return_routed_experts\":\"all\"", "return_routed_experts", kNone},
    {",\"degraded_allowed\":1", "degraded_allowed", kNone},
    {",\"truncate_prompt_tokens\":0", "truncate_prompt_tokens", kNone},
    {",\"priority\":2147483648", "priority", kNone},
    {",\"priority\":\"high\"", "priority", kNone},
    {",\"cache_salt\":5", "cache_salt", kNone},
    {",\"request_id\":5", "request_id", kNone},
    {",\"user\":{}", "user", kNone},
    {",\"response_format\":\"text\"", "response_format", kNone},
    {",\"response_format\":{}", "response_format.type", kNone},
    {",\"response_format\":{\"type\":\"xml\"}", "response_format.type", kNone},
    {",\"response_format\":{\"type\":\"json_object\"}", "response_format", kNotYet},
    {",\"response_format\":{\"type\":\"json_schema\"}", "response_format.json_schema", kNone},
    {",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{}}"
     "}",
     "response_format", kNotYet},
    {",\"structured_outputs\":{\"regex\":\"a\"}", "structured_outputs", kNotYet},
    {",\"guided_json\":{}", "guided_json", kNotYet},
    {",\"guided_regex\":\"a\"", "guided_regex", kNotYet},
    {",\"guided_choice\":[\"a\"]", "guided_choice", kNotYet},
    {",\"thinking_token_budget\":100", "thinking_token_budget", kNotYet},
    {",\"use_beam_search\":true", "use_beam_search", kNotYet},
    {",\"chat_template\":\"{{ x }}\"", "chat_template", kNotYet},
    {",\"chat_template_kwargs\":5", "chat_template_kwargs", kNone},
    {",\"add_generation_prompt\":1", "add_generation_prompt", kNone},
    {",\"add_generation_prompt\":true,\"continue_final_message\":true", "continue_final_message",
     kNone},
    {",\"reasoning_effort\":\"huge\"", "reasoning_effort", kNone},
    {",\"reasoning_effort\":3", "reasoning_effort", kNone},
    {",\"modalities\":[\"text\",\"audio\"]", "modalities", kNotYet},
    {",\"tools\":{}", "tools", kNone},
    {",\"tools\":[1]", "tools[0]", kNone},
    {",\"tools\":[{}]", "tools[0].type", kNone},
    {",\"tools\":[{\"type\":\"web_search\"}]", "tools[0].type", kNotYet},
    {",\"tools\":[{\"type\":\"function\"}]", "tools[0].function", kNone},
    {",\"tools\":[{\"type\":\"function\",\"function\":{}}]", "tools[0].function.name", kNone},
    {",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]",
     "tools[0].function.name", kNone},
    {",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a>\"}}]",
     "tools[0].function.name", kNone},
    {",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"parameters\":[]}}]",
     "tools[0].function.parameters", kNone},
    {",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"strict\":true}}]",
     "tools[0].function.strict", kNotYet},
    {",\"tool_choice\":\"required\"", "tool_choice", kNotYet},
    {",\"tool_choice\":\"any\"", "tool_choice", kNone},
    {",\"tool_choice\":1", "tool_choice", kNone},
    {",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", "tool_choice",
     kNotYet},
    {",\"parallel_tool_calls\":\"no\"", "parallel_tool_calls", kNone},
    {",\"functions\":[]", "functions", kNotYet},
    {",\"function_call\":\"auto\"", "function_call", kNotYet},
};

constexpr BadBody kCompletion[] = {
    {"{}", "prompt", kNone},
    {"{\"model\":5,\"prompt\":\"x\"}", "model", kNone},
    {"{\"model\":\"m\"}", "prompt", kNone},
    {"{\"model\":\"m\",\"prompt\":null}", "prompt", kNone},
    {"{\"model\":\"m\",\"prompt\":5}", "prompt", kNone},
    {"{\"model\":\"m\",\"prompt\":[]}", "prompt", kNone},
    {"{\"model\":\"m\",\"prompt\":[[]]}", "prompt[0]", kNone},
    {"{\"model\":\"m\",\"prompt\":[1,\"a\"]}", "prompt[1]", kNone},
    {"{\"model\":\"m\",\"prompt\":[\"a\",1]}", "prompt[1]", kNone},
    {"{\"model\":\"m\",\"prompt\":[1,-2]}", "prompt[1]", kNone},
    {"{\"model\":\"m\",\"prompt\":[[1,2147483648]]}", "prompt[0][1]", kNone},
    {"{\"model\":\"m\",\"prompt\":{\"text\":\"a\"}}", "prompt", kNone},
    {",\"max_tokens\":-1", "max_tokens", kNone},
    {",\"echo\":\"yes\"", "echo", kNone},
    {",\"logprobs\":21", "logprobs", kNone},
    {",\"logprobs\":true", "logprobs", kNone},
    {",\"suffix\":\"x\"", "suffix", kNotYet},
    {",\"best_of\":2", "best_of", kNotYet},
    {",\"best_of\":0", "best_of", kNone},
    {",\"n\":2,\"best_of\":1", "best_of", kNotYet},
    {",\"response_format\":{\"type\":\"json_object\"}", "response_format", kNotYet},
};

constexpr BadBody kMessages[] = {
    {"{}", "max_tokens", kNone},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "max_tokens", kNone},
    {"{\"model\":\"m\",\"max_tokens\":0,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
     "max_tokens", kNone},
    {"{\"model\":\"m\",\"max_tokens\":5}", "messages", kNone},
    {"{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}",
     "messages[0].role", kNone},
    {"{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\"}]}", "messages[0].content",
     kNone},
    {"{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"image\"}]}"
     "]}",
     "messages[0].content[0].type", kNotYet},
    {"{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"tool_use\""
     ",\"id\":\"1\",\"name\":\"f\",\"input\":{}}]}]}",
     "messages[0].content[0].type", kNotYet},
    {"{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"assistant\",\"content\":[{"
     "\"type\":"
     "\"tool_use\",\"id\":\"1\",\"name\":\"f\"}]}]}",
     "messages[0].content[0].input", kNone},
    {"{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"tool_result\"}]}]}",
     "messages[0].content[0].tool_use_id", kNone},
    {",\"temperature\":1.5", "temperature", kNone},
    {",\"system\":5", "system", kNone},
    {",\"system\":[{\"type\":\"image\"}]", "system[0].type", kNotYet},
    {",\"stop_sequences\":[\"\"]", "stop_sequences[0]", kNone},
    {",\"tool_choice\":\"auto\"", "tool_choice", kNone},
    {",\"tool_choice\":{\"type\":\"any\"}", "tool_choice", kNotYet},
    {",\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"}", "tool_choice", kNotYet},
    {",\"tool_choice\":{\"type\":\"x\"}", "tool_choice.type", kNone},
    {",\"tools\":[{\"name\":\"f\"}]", "tools[0].input_schema", kNone},
    {",\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\",\"input_schema\":{}}]",
     "tools[0].type", kNotYet},
    {",\"thinking\":true", "thinking", kNone},
    {",\"thinking\":{\"type\":\"deep\"}", "thinking.type", kNone},
    {",\"output_config\":{\"format\":{\"type\":\"json_schema\"}}", "output_config.format", kNotYet},
    {",\"metadata\":{\"user_id\":5}", "metadata.user_id", kNone},
};

constexpr BadBody kResponses[] = {
    {"{}", "input", kNone},
    {"{\"model\":\"m\"}", "input", kNone},
    {"{\"model\":\"m\",\"input\":[]}", "input", kNone},
    {"{\"model\":\"m\",\"input\":5}", "input", kNone},
    {"{\"model\":\"m\",\"input\":[{\"role\":\"user\"}]}", "input[0].content", kNone},
    {"{\"model\":\"m\",\"input\":[{\"role\":\"robot\",\"content\":\"x\"}]}", "input[0].role",
     kNone},
    {"{\"model\":\"m\",\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", "input[0].type",
     kNotYet},
    {"{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}",
     "input[0].content[0].type", kNotYet},
    {"{\"model\":\"m\",\"input\":[{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\"}]}",
     "input[0].arguments", kNone},
    {"{\"model\":\"m\",\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"1\"}]}",
     "input[0].output", kNone},
    {",\"previous_response_id\":\"resp_1\"", "previous_response_id", kNotYet},
    {",\"conversation\":\"c\"", "conversation", kNotYet},
    {",\"background\":true", "background", kNotYet},
    {",\"truncation\":\"auto\"", "truncation", kNotYet},
    {",\"text\":{\"format\":{\"type\":\"json_object\"}}", "text.format", kNotYet},
    {",\"tools\":[{\"type\":\"web_search\"}]", "tools[0].type", kNotYet},
    {",\"tool_choice\":\"required\"", "tool_choice", kNotYet},
    {",\"max_output_tokens\":0", "max_output_tokens", kNone},
    {",\"top_logprobs\":21", "top_logprobs", kNone},
    {",\"reasoning\":{\"effort\":\"x\"}", "reasoning.effort", kNone},
    {",\"metadata\":[]", "metadata", kNone},
    {",\"include\":[5]", "include[0]", kNone},
};

}  // namespace

std::span<const BadBody> BadBodiesOf(ApiDialect dialect) {
  switch (dialect) {
    case ApiDialect::kChat:
      return kChat;
    case ApiDialect::kCompletion:
      return kCompletion;
    case ApiDialect::kMessages:
      return kMessages;
    case ApiDialect::kResponses:
      break;
  }
  return kResponses;
}

std::string_view GoodBody(ApiDialect dialect) {
  switch (dialect) {
    case ApiDialect::kChat:
      return R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";
    case ApiDialect::kCompletion:
      return R"({"model":"m","prompt":"hi"})";
    case ApiDialect::kMessages:
      return R"({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]})";
    case ApiDialect::kResponses:
      break;
  }
  return R"({"model":"m","input":"hi"})";
}

std::string BodyOf(ApiDialect dialect, const BadBody& bad) {
  const std::string_view text = bad.text;
  if (!text.starts_with(',')) return std::string(text);
  std::string body(GoodBody(dialect));
  body.insert(body.size() - 1, text);
  return body;
}

}  // namespace tessera::gateway
