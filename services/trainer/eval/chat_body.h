#pragma once

// Conversations as bodies of POST /v1/chat/completions, and the answers that come back.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/trainer/corpus/conversation.h"
#include "services/trainer/eval/items.h"

namespace tessera::trainer {

// The first `message_count` messages and all tools; greedy, at most `tokens_max` tokens.
std::string ChatBody(const Conversation& conversation, size_t message_count, size_t tokens_max);

struct ChatReply {
  std::string content;
  std::string reasoning;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments as JSON
  size_t prompt_tokens = 0;
  size_t completion_tokens = 0;
};

// kInvalidArgument: it is no chat completion.
absl::StatusOr<ChatReply> ReadReply(std::string_view body);

// Whether `reply` is what the last message of `item` expects.
bool IsRight(const Conversation& item, Scoring scoring, const ChatReply& reply);

// The last number in the text with its sign; empty if there is none.
std::string LastNumber(std::string_view text);

}  // namespace tessera::trainer
