#pragma once

// What streams of chat and of text completions have in common: chunks, usage, the end. For the
// sources of this folder only.
//
//   data: {head,"choices":[{"index":0, ... }],"usage":null}

#include <string>
#include <string_view>

#include "services/gateway/api/reply_parts.h"

namespace tessera::gateway {

class OpenAiStream : public StreamWriter {
 public:
  void End(const Usage& usage, std::string& out) final;
  void Fail(const ApiError& error, std::string& out) final;
  void Ping(std::string& out) final;

 protected:
  // `object` is that of every chunk.
  OpenAiStream(const GenerationRequest& request, const ReplyHead& head, std::string_view object);

  // The choice is open and has its index.
  JsonWriter OpenChunk(uint32_t choice, std::string& out) const;
  // Behind "logprobs" of the choice: no reason to end, what `step` tells of its tokens, the end of
  // the chunk.
  void CloseStep(const ChoiceStep& step, const Usage& usage, JsonWriter& json) const;
  // The same for the last chunk of a choice.
  void CloseLast(const ChoiceEnd& end, const Usage& usage, JsonWriter& json) const;
  static void CloseChoice(JsonWriter& json) { json.Close('}').Close(']'); }
  // After CloseChoice.
  void CloseChunk(const Usage& usage, JsonWriter& json) const;

  const ReplyHead& head() const { return head_; }

 private:
  const ReplyHead head_;
  const bool include_usage_;
  const bool continuous_usage_;
  std::string prefix_;  // of every chunk, up to "choices"
};

}  // namespace tessera::gateway
