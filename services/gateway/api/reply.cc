#include "services/gateway/api/reply.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "services/gateway/api/infer_json.h"
#include "services/gateway/api/reply_parts.h"

namespace tessera::gateway {
namespace {

void WriteModelObject(const ModelInfo& model, JsonWriter& json) {
  json.Open('{').Key("id").String(model.id).Key("object").String("model");
  json.Key("created").Integer(model.created_unix_s).Key("owned_by").String(model.owned_by);
  json.Key("max_model_len").Integer(model.model_len_max).Close('}');
}

}  // namespace

std::string MakeReplyId(ApiDialect dialect, uint64_t random_high, uint64_t random_low) {
  constexpr std::array<const char*, 4> kPrefixes = {"chatcmpl-", "cmpl-", "msg_", "resp_"};
  return absl::StrCat(kPrefixes[static_cast<size_t>(dialect)],
                      absl::Hex(random_high, absl::kZeroPad16),
                      absl::Hex(random_low, absl::kZeroPad16));
}

std::unique_ptr<StreamWriter> MakeStreamWriter(const GenerationRequest& request,
                                               const ReplyHead& head) {
  switch (request.dialect) {
    case ApiDialect::kChat:
      return MakeChatStream(request, head);
    case ApiDialect::kCompletion:
      return MakeCompletionStream(request, head);
    case ApiDialect::kMessages:
      return MakeMessagesStream(request, head);
    case ApiDialect::kResponses:
      break;
  }
  return MakeResponsesStream(request, head);
}

std::string WriteReply(const GenerationRequest& request, const ReplyHead& head,
                       std::span<const ChoiceOutput> choices, const Usage& usage) {
  TESSERA_CHECK(!choices.empty());
  switch (request.dialect) {
    case ApiDialect::kChat:
      return WriteChatReply(request, head, choices, usage);
    case ApiDialect::kCompletion:
      if (request.infer.has_value()) return WriteInferBody(request, head.model, choices, usage);
      return WriteCompletionReply(request, head, choices, usage);
    case ApiDialect::kMessages:
      return WriteMessagesReply(request, head, choices[0], usage);
    case ApiDialect::kResponses:
      break;
  }
  return WriteResponsesReply(request, head, choices[0], usage);
}

std::string WriteModel(const ModelInfo& model) {
  std::string out;
  JsonWriter json(out);
  WriteModelObject(model, json);
  return out;
}

std::string WriteModelList(std::span<const ModelInfo> models) {
  std::string out;
  JsonWriter json(out);
  json.Open('{').Key("object").String("list").Key("data").Open('[');
  for (const ModelInfo& model : models) WriteModelObject(model, json);
  json.Close(']').Close('}');
  return out;
}

std::string WriteTokenizeReply(std::span<const TokenId> tokens,
                               const std::vector<std::string>* token_strs, uint32_t model_len_max) {
  std::string out;
  JsonWriter json(out);
  json.Open('{').Key("count").Integer(static_cast<int64_t>(tokens.size()));
  json.Key("max_model_len").Integer(model_len_max).Key("tokens");
  WriteTokenIds(tokens, json);
  json.Key("token_strs");
  if (token_strs == nullptr) {
    json.Null();
  } else {
    json.Open('[');
    for (const std::string& text : *token_strs) json.String(text);
    json.Close(']');
  }
  json.Close('}');
  return out;
}

std::string WriteDetokenizeReply(std::string_view text) {
  std::string out;
  JsonWriter json(out);
  json.Open('{').Key("prompt").String(text).Close('}');
  return out;
}

std::string WriteCountTokensReply(uint32_t input_tokens) {
  std::string out;
  JsonWriter json(out);
  json.Open('{').Key("input_tokens").Integer(input_tokens).Close('}');
  return out;
}

}  // namespace tessera::gateway
