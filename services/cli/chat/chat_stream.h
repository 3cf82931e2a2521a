#pragma once

// What a gateway streams for a chat, read: bytes --lines--> events --JSON--> parts of the answer.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tessera::cli {

struct ChatToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON, whole once the answer has ended
};

struct ChatAnswer {
  std::string content;
  std::vector<ChatToolCall> calls;
  std::string finish_reason;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

// Takes one reply in. Owned by one thread.
class ChatStream {
 public:
  struct Events {
    std::function<void(std::string_view text)> reasoning;
    std::function<void(std::string_view text)> content;
  };
  explicit ChatStream(Events events) : events_(std::move(events)) {}

  // Bytes as they come. An error event of the server becomes a status with its message:
  // kResourceExhausted, kInvalidArgument or kUnavailable by its type. kDataLoss: what came is no
  // event stream, or a line of it is over 4 MiB.
  absl::Status Push(std::string_view bytes);

  // The end mark has come: nothing was lost.
  bool is_done() const { return is_done_; }
  const ChatAnswer& answer() const { return answer_; }

 private:
  absl::Status TakeLine(std::string_view line);

  const Events events_;
  std::string line_;  // what came of the line under way
  ChatAnswer answer_;
  bool is_done_ = false;
};

// The status of an error reply {"error":{"message","type",...}}; of any other body its first words.
absl::Status ErrorOf(int http_status, std::string_view body);

}  // namespace tessera::cli
