// Prints replies and stream events of ours for validate.mjs, one a line: the name of OpenAI's
// schema, a tab, the JSON.

#include <iostream>

#include "services/gateway/api/api_error.h"
#include "services/gateway/api/reply.h"
#include "services/gateway/api/request_reader.h"
#include "tests/services/gateway/api/reply_samples.h"

namespace tessera::gateway {
namespace {

void Print(std::string_view schema, std::string_view json) {
  std::cout << schema << '\t' << json << '\n';
}

// The reply and all chunks of `choice`, with much asked for and with nothing.
void PrintBoth(ApiDialect dialect, const ChoiceOutput& choice, std::string_view reply,
               std::string_view chunk) {
  for (const bool plain : {false, true}) {
    GenerationRequest request = FullRequest(dialect);
    if (plain) {
      request = GenerationRequest();
      request.dialect = dialect;
    }
    ChoiceOutput shown = choice;
    if (plain) shown.logprobs = shown.content_logprobs = {};
    Print(reply, WriteReply(request, SampleHead(dialect), {&shown, 1}, kSampleUsage));
    for (const std::string& data : DataOf(Streamed(request, {shown}))) Print(chunk, data);
  }
}

void PrintAll() {
  const ChoiceOutput full = FullChoice();
  ChoiceOutput text;
  text.events = {{.kind = OutputEvent::Kind::kContent, .text = "hello"}};
  text.end.reason = FinishReason::kLength;
  ChoiceOutput silent;
  for (const ChoiceOutput& choice : {full, text, silent})
    PrintBoth(ApiDialect::kChat, choice, "CreateChatCompletionResponse",
              "CreateChatCompletionStreamResponse");
  for (const ChoiceOutput& choice : {text, silent})
    PrintBoth(ApiDialect::kCompletion, choice, "CreateCompletionResponse", "CompletionChunk");
  for (const ChoiceOutput& choice : {full, text, silent})
    PrintBoth(ApiDialect::kResponses, choice, "Response", "ResponseStreamEvent");
  const auto request = ReadResponsesRequest(
      R"({"model":"m","input":"x","instructions":"y","metadata":{"a":"b"},
          "tools":[{"type":"function","name":"f"}]})",
      {});
  if (request.ok())
    Print("Response",
          WriteReply(*request, SampleHead(ApiDialect::kResponses), {&text, 1}, kSampleUsage));
  const ModelInfo model = {.id = "m", .model_len_max = 4096};
  Print("Model", WriteModel(model));
  Print("ListModelsResponse", WriteModelList({&model, 1}));
  for (const absl::Status& status :
       {BadRequest("n", "wrong"), ModelNotFound("x"), absl::UnavailableError("gone"),
        absl::InternalError("x"), absl::ResourceExhaustedError("x")}) {
    Print("ErrorResponse", ErrorBody(ToApiError(status), ErrorDialect::kOpenAi, "id"));
  }
}

}  // namespace
}  // namespace tessera::gateway

int main() {
  tessera::gateway::PrintAll();
  return 0;
}
